//! Placeholder media for gaps of the main programme: black video and silence.

use std::time::Duration;

use tongke_record::filler;

use super::catalogue::MediaKind;
use super::programme::MAX_ENTRY_US;

/// Placeholder segment, named by its file name in a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    Init(MediaKind),
    Segment {
        kind: MediaKind,
        start_us: u64,
        length_us: u64,
    },
}

impl Placeholder {
    /// Parses `v.mp4`, `a.mp4`, `v-START-LENGTH.m4s` or `a-START-LENGTH.m4s`, in microseconds of
    /// the lesson.
    pub fn parse(name: &str) -> Option<Placeholder> {
        let kind = match name.as_bytes().first()? {
            b'v' => MediaKind::Video,
            b'a' => MediaKind::Audio,
            _ => return None,
        };
        let rest = &name[1..];
        if rest == ".mp4" {
            return Some(Placeholder::Init(kind));
        }
        let (start, length) = rest
            .strip_prefix('-')?
            .strip_suffix(".m4s")?
            .split_once('-')?;
        let (start_us, length_us) = (start.parse().ok()?, length.parse().ok()?);
        // Limits the generated media: a lesson of a day, and the longest playlist entry.
        let fits = start_us < 86_400_000_000 && (1..=MAX_ENTRY_US as u64).contains(&length_us);
        fits.then_some(Placeholder::Segment {
            kind,
            start_us,
            length_us,
        })
    }

    pub fn bytes(self) -> Vec<u8> {
        let time = Duration::from_micros;
        match self {
            Placeholder::Init(MediaKind::Video) => filler::video_init(),
            Placeholder::Init(MediaKind::Audio) => filler::audio_init(),
            Placeholder::Segment {
                kind: MediaKind::Video,
                start_us,
                length_us,
            } => filler::video_fragment(time(start_us), time(length_us)),
            Placeholder::Segment {
                kind: MediaKind::Audio,
                start_us,
                length_us,
            } => filler::audio_fragment(time(start_us), time(length_us)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_parse_and_invalid_names_do_not() {
        assert_eq!(
            Placeholder::parse("v.mp4"),
            Some(Placeholder::Init(MediaKind::Video))
        );
        let segment = Placeholder::Segment {
            kind: MediaKind::Audio,
            start_us: 5,
            length_us: 100,
        };
        assert_eq!(Placeholder::parse("a-5-100.m4s"), Some(segment));
        for name in [
            "",
            "x.mp4",
            "v-5-100",
            "v-5-99999999999.m4s",
            "v--5-1.m4s",
            "v-1-0.m4s",
            "é.mp4",
        ] {
            assert_eq!(Placeholder::parse(name), None, "{name}");
        }
    }
}
