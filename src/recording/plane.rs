//! [`PacketSource`] implementation of the media plane.

use std::time::{Duration, Instant};

use tongke_plane::ids::TrackId;
use tongke_plane::{Plane, Tapped, Track};
use tongke_record::{Packet, Recorder, SenderReport};

use super::catalogue::Codec;
use super::packet_source::{PacketSource, PacketTap, PublishedTrack};
use crate::bus::{ParticipantRef, Purpose};

impl PacketSource for Plane {
    fn tap(&self, track: TrackId) -> Option<Box<dyn PacketTap>> {
        match Plane::tap(self, track) {
            Ok(tap) => Some(Box::new(PlaneTap { track, tap })),
            Err(error) => {
                tracing::warn!(%error, %track, "a track cannot be recorded");
                None
            }
        }
    }

    fn request_keyframe(&self, track: TrackId) {
        Plane::request_keyframe(self, track);
    }
}

struct PlaneTap {
    track: TrackId,
    tap: tongke_plane::Tap,
}

impl PacketTap for PlaneTap {
    fn drain(&mut self, recorder: &mut Recorder, begin: Instant) {
        let track = self.track.0;
        let since = |arrival: Instant| -> Duration { arrival.saturating_duration_since(begin) };
        while let Some(tapped) = self.tap.pop() {
            match tapped {
                Tapped::Packet {
                    layer,
                    seq,
                    rtp_time,
                    marker,
                    arrival,
                    payload,
                } => {
                    let (seq, arrival) = (seq.0, since(arrival));
                    recorder.handle_packet(
                        track,
                        Packet {
                            layer,
                            seq,
                            rtp_time,
                            marker,
                            arrival,
                            payload,
                        },
                    );
                }
                Tapped::SenderReport {
                    layer,
                    ntp,
                    rtp_time,
                    arrival,
                } => {
                    recorder.handle_sender_report(
                        track,
                        SenderReport {
                            layer,
                            ntp,
                            rtp_time,
                            arrival: since(arrival),
                        },
                    );
                }
                Tapped::Restart { layer } => recorder.restart_layer(track, layer),
            }
        }
    }

    fn overrun(&self) -> u64 {
        self.tap.overrun()
    }
}

impl PublishedTrack {
    pub fn new(track: &Track, participant: ParticipantRef, purpose: Purpose) -> PublishedTrack {
        let codec = match track.codec {
            tongke_plane::Codec::Opus => Codec::Opus,
            tongke_plane::Codec::H264 => Codec::H264,
            tongke_plane::Codec::Vp8 => Codec::Vp8,
            tongke_plane::Codec::Vp9 => Codec::Vp9,
            tongke_plane::Codec::Av1 => Codec::Av1,
        };
        PublishedTrack {
            track: track.id,
            peer: track.peer,
            codec,
            participant,
            purpose,
        }
    }
}
