//! Coalescing of the packets of one frame: the first packets wait for the rest.
//!
//! Packets of one frame that are sent together cost one GSO message per subscriber instead of one
//! message per packet. The delay pays off only while it is shorter than the time it saves, which is
//! the cost of sending one packet to all subscribers. With a few dozen subscribers that is below
//! timer resolution, so a lesson of ordinary size is never delayed. Audio is never delayed.

use std::time::{Duration, Instant};

use crate::publish::track::Track;
use crate::sdp::Codec;

/// Fixed cost of one message to one subscriber: the system call path of a bare send, as measured by
/// `benches/forward`.
const MESSAGE_COST: Duration = Duration::from_nanos(1_500);

/// Shortest delay that is worth a timer: a thread cannot sleep for less.
const MIN_DELAY: Duration = Duration::from_micros(60);

/// Longest delay, whatever it would save: a tenth of a frame interval at most.
const MAX_DELAY: Duration = Duration::from_millis(2);

/// After a timeout, coalescing is disabled for this long: the publisher paces the packets of a
/// frame, and will continue to.
const COOLDOWN: Duration = Duration::from_millis(200);

/// Decides for one track how long its fresh packets wait.
#[derive(Default)]
pub(super) struct FrameCoalescer {
    deadline: Option<Instant>,
    disabled_until: Option<Instant>,
}

impl FrameCoalescer {
    /// Returns the time until which the fresh packets of `track` should wait, or none if they
    /// should be sent now.
    pub(super) fn poll(
        &mut self,
        track: &Track,
        subscribers: usize,
        now: Instant,
    ) -> Option<Instant> {
        let max_delay = (MESSAGE_COST * subscribers as u32).min(MAX_DELAY);
        let enabled =
            max_delay >= MIN_DELAY && self.disabled_until.is_none_or(|until| until <= now);
        if !enabled || track.codec == Codec::Opus || track.ends_with_complete_frames() {
            self.deadline = None;
            return None;
        }
        let deadline = *self.deadline.get_or_insert(now + max_delay);
        if now < deadline {
            return Some(deadline);
        }
        (self.deadline, self.disabled_until) = (None, Some(now + COOLDOWN));
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
                picture_ids: None,
                primary_offset: 0,
            };
            assert!(track.insert(0, meta, &[0]));
        }
        track
    }

    #[test]
    fn video_for_a_thousand_rooms_waits_for_the_end_of_the_frame() {
        let (mut coalescer, now) = (FrameCoalescer::default(), virtual_time::start());
        let until = coalescer.poll(&track_with(&[false, false], Codec::H264), 1_000, now);
        assert_eq!(until, Some(now + Duration::from_micros(1_500)));
        assert_eq!(
            coalescer.poll(&track_with(&[false, false, true], Codec::H264), 1_000, now),
            None,
            "the frame is complete"
        );
    }

    #[test]
    fn a_lesson_of_twenty_rooms_and_audio_never_wait() {
        let now = virtual_time::start();
        assert_eq!(
            FrameCoalescer::default().poll(&track_with(&[false], Codec::H264), 20, now),
            None
        );
        assert_eq!(
            FrameCoalescer::default().poll(&track_with(&[false], Codec::Opus), 1_000, now),
            None
        );
    }

    #[test]
    fn coalescing_stops_for_a_publisher_that_paces_its_frames() {
        let (mut coalescer, start) = (FrameCoalescer::default(), virtual_time::start());
        let paced = track_with(&[false], Codec::H264);
        let until = coalescer.poll(&paced, 400, start).expect("the first time");
        assert_eq!(
            coalescer.poll(&paced, 400, until),
            None,
            "the timeout sends the incomplete frame"
        );
        assert_eq!(
            coalescer.poll(&paced, 400, until + Duration::from_millis(30)),
            None,
            "the next frame is not delayed"
        );
        assert!(
            coalescer.poll(&paced, 400, until + COOLDOWN).is_some(),
            "coalescing is enabled again after the cooldown"
        );
    }
}
