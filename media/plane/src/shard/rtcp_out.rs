//! Outgoing RTCP: NACKs, feedback and keyframe requests to publishers, reports to all peers.

use std::time::{Duration, Instant};

use super::Shard;
use super::peer::{Peer, Publisher, Role, RtpSource, SourceKind};
use super::track::Origin;
use crate::command::{Command, Event};
use crate::ids::Ssrc;
use crate::index::{PeerIx, SlotIx};
use crate::rtp::NtpTime;
use crate::rtp::rtcp::{BufferFull, Compound};
use crate::sdp::Codec;
use crate::stats::Counters;
use crate::subscribe::arena::MAX_DATAGRAM;
use crate::transport::srtp::MAX_TRAILER;
use crate::units::{Bitrate, SeqNo};

/// Minimum interval between two keyframe requests of a layer: an encoder that sends a keyframe
/// every half second has already lost half of its quality.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Maximum number of sequence numbers per NACK; they fit one packet.
const NACK_BATCH: usize = 128;

/// Maximum size of an RTCP compound, in bytes; below every path MTU.
const COMPOUND_BYTES: usize = 1_200;

/// CNAME of everything that the server sends (RFC 8834 §4.9: one per peer connection). It
/// identifies nobody.
const CNAME: &str = "tongke";

impl Shard {
    /// Sends NACKs for the missing packets of a publisher's layers.
    pub(super) fn send_nacks(&mut self, now: Instant, peer_ix: PeerIx) {
        let (reporter, tracks) = (self.reporter, &mut self.tracks);
        let Role::Publisher(publisher) = &mut self.peers[peer_ix].role else {
            return;
        };
        let mut requests: Vec<(Ssrc, Vec<u16>)> = Vec::new();
        let Publisher { media, sources, .. } = &mut **publisher;
        for (ssrc, source) in sources {
            let RtpSource {
                media: media_ix,
                layer,
                kind: SourceKind::Media(receiver),
            } = source
            else {
                continue;
            };
            let published = &media[media_ix.position()];
            let Some(held) = tracks[published.track]
                .media
                .layers
                .get_mut(usize::from(*layer))
            else {
                continue;
            };
            if let Some(newest) = held.ring.newest() {
                receiver.nack.discard_before(SeqNo(
                    newest.0.saturating_sub(held.ring.capacity() as u64 - 1),
                ));
            }
            let mut missing = [SeqNo(0); NACK_BATCH];
            let polled = receiver.nack.poll(now, &mut missing);
            if polled.given_up > 0 && published.formats.codec != Codec::Opus {
                held.keyframe_requested = true;
            }
            // Retransmitted audio would arrive too late; in-band FEC and RED repair it.
            if polled.requested > 0 && published.formats.codec != Codec::Opus {
                requests.push((
                    *ssrc,
                    missing[..polled.requested]
                        .iter()
                        .map(|seq| seq.wire())
                        .collect(),
                ));
            }
        }
        for (ssrc, missing) in requests {
            self.send_rtcp(peer_ix, |compound| compound.nack(reporter, ssrc, missing));
        }
    }

    /// Sends transport-wide feedback to a publisher if it is due.
    pub(super) fn send_feedback(&mut self, now: Instant, peer_ix: PeerIx) {
        let reporter = self.reporter;
        let mut more = true;
        while more {
            let Role::Publisher(publisher) = &mut self.peers[peer_ix].role else {
                return;
            };
            if !publisher.feedback.is_due(now) {
                return;
            }
            // draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1: the media SSRC may be any
            // SSRC of the sender.
            let media = publisher.sources.keys().next().copied().unwrap_or_default();
            let mut space = [0; MAX_DATAGRAM];
            let mut compound = Compound::new(&mut space[..COMPOUND_BYTES]);
            more = publisher
                .feedback
                .write(reporter, media, &mut compound, now)
                .is_ok_and(|more| more);
            let len = compound.len();
            self.seal_rtcp(peer_ix, &mut space, len);
        }
    }

    /// Sends receiver reports to a publisher, and reports the link to the server.
    pub(super) fn send_receiver_report(&mut self, now: Instant, peer_ix: PeerIx) {
        let reporter = self.reporter;
        let Role::Publisher(publisher) = &mut self.peers[peer_ix].role else {
            return;
        };
        let mut blocks = Vec::new();
        for source in publisher.sources.values_mut() {
            if let SourceKind::Media(receiver) = &mut source.kind {
                blocks.extend(receiver.reception.report(now));
            }
        }
        let lost = blocks
            .iter()
            .map(|block| block.fraction_lost)
            .max()
            .unwrap_or(0);
        self.send_rtcp(peer_ix, |compound| {
            compound.receiver_report(reporter, &blocks)?;
            compound.cname(reporter, CNAME)
        });
        let peer = self.peers[peer_ix].id;
        self.queue_event(Event::Link {
            peer,
            estimate: Bitrate::ZERO,
            loss: f32::from(lost) / 256.0,
            rtt: Duration::ZERO,
        });
    }

    /// Sends sender reports for all active slots of a subscriber, and reports the link to the
    /// server.
    pub(super) fn send_sender_reports(&mut self, now: Instant, peer_ix: PeerIx) {
        let Role::Subscriber(subscriber) = &self.peers[peer_ix].role else {
            return;
        };
        let mut reports = Vec::new();
        for (position, slot) in subscriber.slots.iter().enumerate() {
            let Some(track) = slot.track.and_then(|track| self.tracks.get(track)) else {
                continue;
            };
            let Some(forwarder) = track.fanout.get(peer_ix, SlotIx::new(position)) else {
                continue;
            };
            reports.extend(
                forwarder
                    .report(&track.media, now)
                    .map(|report| (Ssrc(slot.ssrc), report)),
            );
        }
        let link = Event::Link {
            peer: self.peers[peer_ix].id,
            estimate: subscriber.estimator.estimate(),
            loss: subscriber.estimator.loss(),
            rtt: subscriber.estimator.rtt().unwrap_or_default(),
        };
        for (ssrc, (ntp, rtp_time, sent)) in reports {
            self.send_rtcp(peer_ix, |compound| {
                compound.sender_report(
                    ssrc,
                    NtpTime(ntp),
                    rtp_time,
                    sent.packets,
                    sent.octets,
                    &[],
                )?;
                compound.cname(ssrc, CNAME)
            });
        }
        self.queue_event(link);
    }

    /// Sends the rate-limited keyframe requests, at most one PLI per layer. Requests for imported
    /// tracks go to the owner's shard.
    pub(super) fn request_keyframes(&mut self, now: Instant) {
        let reporter = self.reporter;
        let mut wanted = Vec::new();
        for track in self.tracks.values_mut() {
            for (layer, held) in track.media.layers.iter_mut().enumerate() {
                if !held.poll_keyframe_request(now, KEYFRAME_INTERVAL) {
                    continue;
                }
                match &track.origin {
                    Origin::Local { peer, media } => wanted.push((*peer, *media, layer as u8)),
                    Origin::Remote { owner, .. } => {
                        held.keyframe_requested = false;
                        let command = Command::Keyframe {
                            track: track.media.id,
                            layer: Some(layer as u8),
                        };
                        self.requests.push((*owner, command));
                    }
                }
            }
        }
        for (peer, media, layer) in wanted {
            let Some(Peer {
                role: Role::Publisher(publisher),
                ..
            }) = self.peers.get(peer)
            else {
                continue;
            };
            let Some(ssrc) = publisher.ssrc_of(media, layer) else {
                continue;
            };
            self.send_rtcp(peer, |compound| compound.pli(reporter, ssrc));
            Counters::add(&self.counters.keyframes_requested, 1);
        }
    }

    /// Builds a compound, encrypts it and queues it.
    fn send_rtcp(
        &mut self,
        peer_ix: PeerIx,
        build: impl FnOnce(&mut Compound<'_>) -> Result<(), BufferFull>,
    ) {
        let mut space = [0; MAX_DATAGRAM];
        let mut compound = Compound::new(&mut space[..COMPOUND_BYTES]);
        if build(&mut compound).is_err() {
            return;
        }
        let len = compound.len();
        self.seal_rtcp(peer_ix, &mut space, len);
    }

    /// Encrypts the compound in `space[..len]` and queues it.
    fn seal_rtcp(&mut self, peer_ix: PeerIx, space: &mut [u8; MAX_DATAGRAM], len: usize) {
        const { assert!(COMPOUND_BYTES + MAX_TRAILER <= MAX_DATAGRAM) };
        let Some(Peer {
            send: Some(send),
            rtcp: Some(sealer),
            ..
        }) = self.peers.get_mut(peer_ix)
        else {
            return;
        };
        let to = send.path;
        let Some(sealed) = sealer.protect(space, len) else {
            return;
        };
        self.queue_control(to, bytes::Bytes::copy_from_slice(&space[..sealed]));
    }
}
