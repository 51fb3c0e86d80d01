//! Files derived from a content, by their names in the object store.

use super::facts::{Facts, MediaFacts, PlayableFile};

/// Image without EXIF.
pub const IMAGE: &str = "image";
pub const POSTER: &str = "poster.jpg";
pub const RENDITION: &str = "rendition.mp4";
pub const SHEETS: &str = "sheets.json";

/// Size of a page image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSize {
    Large,
    Small,
}

impl PageSize {
    pub fn parse(text: &str) -> Option<PageSize> {
        match text {
            "large" => Some(Self::Large),
            "small" => Some(Self::Small),
            _ => None,
        }
    }

    /// Returns the name of the image of page `n`.
    pub fn file_name(self, n: i64) -> String {
        match self {
            Self::Large => format!("page-{n}-large.webp"),
            Self::Small => format!("page-{n}-small.webp"),
        }
    }
}

/// Returns the names of all files derived from a content.
pub fn names(pages: i64, facts: &Facts) -> Vec<String> {
    let mut names: Vec<String> = (1..=pages)
        .flat_map(|n| [PageSize::Large.file_name(n), PageSize::Small.file_name(n)])
        .collect();
    let image = facts.picture.as_ref().and_then(|image| image.mime.as_ref());
    names.extend(image.map(|_| IMAGE.to_owned()));
    names.extend((facts.sheets > 0).then(|| SHEETS.to_owned()));
    if let Some(MediaFacts {
        has_poster, plays, ..
    }) = &facts.media
    {
        names.extend(has_poster.then(|| POSTER.to_owned()));
        names.extend((*plays == Some(PlayableFile::Rendition)).then(|| RENDITION.to_owned()));
    }
    names
}
