//! How long the first packets of a frame wait for the rest of it.
//!
//! Packets of one frame that leave together cost each subscriber one GSO message instead of one each. Waiting is worth it only as long as it
//! takes less time than it saves: that of sending one packet to the whole audience. For a few dozen subscribers that is less than a timer can
//! measure, so a lesson of ordinary size never waits; a voice never does.

use std::time::{Duration, Instant};

use crate::publish::track::Track;
use crate::sdp::Codec;

/// What one message to one subscriber costs beside its bytes: the way through the kernel, as `benches/forward.rs` has it for a bare send.
const MESSAGE_COST: Duration = Duration::from_nanos(1_500);

/// Less than this is not waited for: a thread sleeps no shorter.
const SHORTEST: Duration = Duration::from_micros(60);

/// More than this is not waited for, whatever it would save: the picture of a large lesson is no later than a frame's tenth.
const LONGEST: Duration = Duration::from_millis(2);

/// After a wait in vain nothing is waited for during this time: a publisher that paces the packets of a frame goes on doing so.
const IMPATIENCE: Duration = Duration::from_millis(200);

/// One track's habit.
#[derive(Default)]
pub struct Patience {
    until: Option<Instant>,
    impatient_until: Option<Instant>,
}

impl Patience {
    /// Until when the track's fresh packets should stay; none when they should leave now.
    pub fn wait(&mut self, track: &Track, audience: usize, now: Instant) -> Option<Instant> {
        let longest = (MESSAGE_COST * audience as u32).min(LONGEST);
        let pays = longest >= SHORTEST && self.impatient_until.is_none_or(|until| until <= now);
        if !pays || track.codec == Codec::Opus || track.has_whole_frames() {
            self.until = None;
            return None;
        }
        let until = *self.until.get_or_insert(now + longest);
        if now < until {
            return Some(until);
        }
        (self.until, self.impatient_until) = (None, Some(now + IMPATIENCE));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TrackId;
    use crate::publish::ring::PacketMeta;
    use crate::units::SeqNo;
    use crate::virtual_time;

    fn track_with(markers: &[bool], codec: Codec) -> Track {
        let mut track = Track::new(TrackId(1), codec, 1);
        for (n, marker) in markers.iter().enumerate() {
            let meta = PacketMeta {
                seq: SeqNo(10 + n as u64),
                rtp_time: 0,
                arrival: virtual_time::start(),
                len: 1,
                pad: 0,
                marker: *marker,
                frame_start: n == 0,
                keyframe: false,
                red: false,
                picture: None,
                primary_offset: 0,
            };
            assert!(track.insert(0, meta, &[0]));
        }
        track
    }

    #[test]
    fn a_picture_for_a_thousand_rooms_waits_for_the_end_of_its_frame() {
        let (mut patience, now) = (Patience::default(), virtual_time::start());
        let until = patience.wait(&track_with(&[false, false], Codec::H264), 1_000, now);
        assert_eq!(until, Some(now + Duration::from_micros(1_500)));
        assert_eq!(
            patience.wait(&track_with(&[false, false, true], Codec::H264), 1_000, now),
            None,
            "the frame is whole"
        );
    }

    #[test]
    fn a_lesson_of_twenty_rooms_and_a_voice_never_wait() {
        let now = virtual_time::start();
        assert_eq!(
            Patience::default().wait(&track_with(&[false], Codec::H264), 20, now),
            None
        );
        assert_eq!(
            Patience::default().wait(&track_with(&[false], Codec::Opus), 1_000, now),
            None
        );
    }

    #[test]
    fn nobody_waits_twice_for_a_publisher_that_paces_its_frames() {
        let (mut patience, start) = (Patience::default(), virtual_time::start());
        let paced = track_with(&[false], Codec::H264);
        let until = patience.wait(&paced, 400, start).expect("the first time");
        assert_eq!(
            patience.wait(&paced, 400, until),
            None,
            "it goes without the rest"
        );
        assert_eq!(
            patience.wait(&paced, 400, until + Duration::from_millis(30)),
            None,
            "and the next at once"
        );
        assert!(
            patience.wait(&paced, 400, until + IMPATIENCE).is_some(),
            "until it is tried again"
        );
    }
}
