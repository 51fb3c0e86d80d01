//! Analysis results of a content: JSON in its row, and the body of API responses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Text;

crate::string_enum! {
    /// State of the analysis of a content.
    AnalysisState {
        /// The job is queued or running.
        Waiting = "waiting",
        Ready = "ready",
        /// The analysis failed; `problem` has the reason.
        Failed = "failed",
    }
}

/// Results other than pages and text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Facts {
    #[schema(required)]
    pub outline: Vec<Heading>,
    /// Directory of a zip, as declared by the file; untrusted.
    #[schema(required)]
    pub entries: Vec<ZipEntry>,
    pub picture: Option<ImageFacts>,
    pub media: Option<MediaFacts>,
    /// Number of spreadsheet sheets stored as tables.
    #[schema(required)]
    pub sheets: i64,
    /// Codes of omissions, for example `page_failed`.
    #[schema(required)]
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Heading {
    #[schema(required)]
    pub level: i64,
    #[schema(required)]
    pub text: String,
    pub page: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ZipEntry {
    #[schema(required)]
    pub path: String,
    #[schema(required)]
    pub size: i64,
}

/// Image; the stored copy has no EXIF.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ImageFacts {
    #[schema(required)]
    pub width: i64,
    #[schema(required)]
    pub height: i64,
    /// Media type of the stored copy; `None` without a copy.
    pub mime: Option<String>,
}

/// Audio or video.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MediaFacts {
    pub duration_ms: Option<i64>,
    #[schema(required)]
    pub streams: Vec<MediaStream>,
    #[schema(required)]
    pub has_poster: bool,
    /// File that browsers can play; `None` until a rendition exists if they cannot play the
    /// original.
    pub plays: Option<PlayableFile>,
}

crate::string_enum! {
    /// File that browsers play.
    PlayableFile { Original = "original", Rendition = "rendition" }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct MediaStream {
    #[schema(required)]
    pub kind: String,
    #[schema(required)]
    pub codec: String,
    pub width: Option<i64>,
    pub height: Option<i64>,
}

impl Facts {
    /// Parses the `facts` column; unreadable JSON counts as empty.
    pub fn parse(json: &str) -> Facts {
        serde_json::from_str(json).unwrap_or_default()
    }
}

/// Returns the explanation of a failure code for content of this type.
pub fn problem_text(code: &str, kind: &str) -> Text {
    match code {
        "unsupported" if kind == "heic" => Text::new(
            "手机的 HEIC 照片不能在线预览。请在手机上转存为 JPEG（或把相机设为“兼容性最佳”），再上传新版本。",
            "HEIC photos have no preview here. Save the photo as JPEG (camera setting “most compatible”) and upload a new version.",
        ),
        "encrypted" => Text::new(
            "文件有密码保护，无法预览和检索内容。请去掉密码后上传新版本。",
            "The file is protected by a password. Remove it and upload a new version to get pages and text.",
        ),
        "broken" | "broken_input" | "nothing_to_show" | "empty" => Text::new(
            "文件已损坏或不完整，无法预览。请在本机打开检查后重新上传。",
            "The file is damaged or incomplete. Open it on your computer, and upload it again.",
        ),
        "too_large" | "too_many" | "too_slow" | "limit" => Text::new(
            "文件内容超出了处理上限（页数、尺寸、时间或内存），无法生成预览；原文件仍可下载。",
            "The file is beyond the limits for previews (pages, size, time or memory); the original can be downloaded.",
        ),
        "hostile" => Text::new(
            "文件含有异常内容，已停止处理；原文件仍可下载，请谨慎打开。",
            "The file has suspicious content and was not processed. Open the original with care.",
        ),
        "unsupported" => Text::new(
            "这种格式不能在线预览，可以下载后用相应的软件打开。",
            "This format has no preview here. Download it and open it with its own program.",
        ),
        "cancelled" => Text::new(
            "处理已取消，可以重新处理。",
            "Processing was cancelled; it can be started again.",
        ),
        _ => Text::new(
            "暂时无法生成预览；原文件仍可下载。",
            "No preview could be made; the original can be downloaded.",
        ),
    }
}
