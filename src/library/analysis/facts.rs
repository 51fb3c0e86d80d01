//! What has been understood of a content, as its row keeps it and cards tell it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Text;

crate::string_enum! {
    /// How far a content is understood.
    Understood {
        /// Its job waits or runs.
        Waiting = "waiting",
        Ready = "ready",
        /// It cannot be: its problem says why.
        Failed = "failed",
    }
}

/// Besides pages and text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Facts {
    #[schema(required)]
    pub outline: Vec<Heading>,
    /// What a zip says it holds; nothing of it is trusted.
    #[schema(required)]
    pub entries: Vec<Entry>,
    pub picture: Option<Picture>,
    pub media: Option<Media>,
    /// Sheets of a spreadsheet that can be looked at as tables; none: there is no such copy of it.
    #[schema(required)]
    pub sheets: i64,
    /// Codes of what was left out.
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
pub struct Entry {
    #[schema(required)]
    pub path: String,
    #[schema(required)]
    pub size: i64,
}

/// An image; the copy that is shown has no EXIF.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Picture {
    #[schema(required)]
    pub width: i64,
    #[schema(required)]
    pub height: i64,
    /// The stored copy's media type; none: there is no copy.
    pub mime: Option<String>,
}

/// Sound and moving pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Media {
    pub duration_ms: Option<i64>,
    #[schema(required)]
    pub streams: Vec<Stream>,
    #[schema(required)]
    pub has_poster: bool,
    /// What a browser can play: `original`, `rendition`, or nothing.
    pub plays: Option<Plays>,
}

crate::string_enum! {
    /// Which file a browser plays.
    Plays { Original = "original", Rendition = "rendition" }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Stream {
    #[schema(required)]
    pub kind: String,
    #[schema(required)]
    pub codec: String,
    pub width: Option<i64>,
    pub height: Option<i64>,
}

impl Facts {
    pub fn of(json: &str) -> Facts {
        serde_json::from_str(json).unwrap_or_default()
    }
}

/// Why a content of this type could not be understood, for the person whose card it is.
pub fn problem(code: &str, kind: &str) -> Text {
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
