//! What the main programme shows and plays where nothing was recorded: a black picture, silence.

use std::time::Duration;

use tongke_record::filler;

use super::catalogue::Kind;
use super::programme::LONGEST_US;

/// A piece of filler, by the name that a playlist gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filler {
    Init(Kind),
    Segment {
        kind: Kind,
        start_us: u64,
        length_us: u64,
    },
}

impl Filler {
    /// `v.mp4`, `a.mp4`, `v-START-LENGTH.m4s`, `a-START-LENGTH.m4s`; microseconds of the lesson.
    pub fn parse(name: &str) -> Option<Filler> {
        let kind = match name.as_bytes().first()? {
            b'v' => Kind::Video,
            b'a' => Kind::Audio,
            _ => return None,
        };
        let rest = &name[1..];
        if rest == ".mp4" {
            return Some(Filler::Init(kind));
        }
        let (start, length) = rest
            .strip_prefix('-')?
            .strip_suffix(".m4s")?
            .split_once('-')?;
        let (start_us, length_us) = (start.parse().ok()?, length.parse().ok()?);
        // A day and the longest entry: nobody makes us count further.
        let fits = start_us < 86_400_000_000 && (1..=LONGEST_US as u64).contains(&length_us);
        fits.then_some(Filler::Segment {
            kind,
            start_us,
            length_us,
        })
    }

    pub fn bytes(self) -> Vec<u8> {
        let time = Duration::from_micros;
        match self {
            Filler::Init(Kind::Video) => filler::video_init(),
            Filler::Init(Kind::Audio) => filler::audio_init(),
            Filler::Segment {
                kind: Kind::Video,
                start_us,
                length_us,
            } => filler::video_fragment(time(start_us), time(length_us)),
            Filler::Segment {
                kind: Kind::Audio,
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
    fn names_come_back_and_nonsense_does_not() {
        assert_eq!(Filler::parse("v.mp4"), Some(Filler::Init(Kind::Video)));
        let segment = Filler::Segment {
            kind: Kind::Audio,
            start_us: 5,
            length_us: 100,
        };
        assert_eq!(Filler::parse("a-5-100.m4s"), Some(segment));
        for name in [
            "",
            "x.mp4",
            "v-5-100",
            "v-5-99999999999.m4s",
            "v--5-1.m4s",
            "v-1-0.m4s",
            "é.mp4",
        ] {
            assert_eq!(Filler::parse(name), None, "{name}");
        }
    }
}
