//! The same things in the plane's words and in the protocol's.

use super::policy::Importance;
use super::protocol::MediaKind;

impl From<tongke_plane::MediaKind> for MediaKind {
    fn from(kind: tongke_plane::MediaKind) -> MediaKind {
        match kind {
            tongke_plane::MediaKind::Audio => MediaKind::Audio,
            tongke_plane::MediaKind::Video => MediaKind::Video,
        }
    }
}

impl From<Importance> for tongke_plane::Priority {
    fn from(importance: Importance) -> tongke_plane::Priority {
        match importance {
            Importance::Voice => tongke_plane::Priority::Audio,
            Importance::Slides => tongke_plane::Priority::Screen,
            Importance::LeadVideo => tongke_plane::Priority::LeadVideo,
            Importance::Stage => tongke_plane::Priority::Stage,
            Importance::Wall => tongke_plane::Priority::Wall,
        }
    }
}
