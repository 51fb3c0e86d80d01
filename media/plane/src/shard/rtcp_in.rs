//! Incoming RTCP: sender reports of publishers; reports, NACKs and keyframe requests of
//! subscribers.

use std::time::Instant;

use super::Shard;
use super::peer::{Role, RtpSource, SourceKind};
use super::resend_queue::Resend;
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::index::PeerIx;
use crate::publish::track::ClockReport;
use crate::rtp::ntp;
use crate::rtp::rtcp::{self, Nack, ReportBlock, Rtcp, SenderReport};

/// Maximum number of retransmissions per NACK: a receiver that lost more needs a keyframe.
const MAX_RESEND: usize = 128;

impl Shard {
    /// Handles one compound packet, already decrypted.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        peer_ix: PeerIx,
        compound: &[u8],
    ) -> Result<(), DropReason> {
        self.peers[peer_ix].transport.note_alive(now);
        for packet in rtcp::parse(compound) {
            match packet.map_err(|_| DropReason::RtcpMalformed)? {
                Rtcp::SenderReport(report) => {
                    self.handle_sender_report(now, peer_ix, &report);
                    report
                        .reports()
                        .for_each(|block| self.handle_report_block(now, peer_ix, &block));
                }
                Rtcp::ReceiverReport(report) => report
                    .reports()
                    .for_each(|block| self.handle_report_block(now, peer_ix, &block)),
                Rtcp::Nack(nack) => self.handle_nack(peer_ix, &nack),
                Rtcp::Pli { media, .. } => self.handle_keyframe_request(peer_ix, media),
                Rtcp::Fir(fir) => fir
                    .entries()
                    .for_each(|entry| self.handle_keyframe_request(peer_ix, entry.media)),
                Rtcp::TransportFeedback(feedback) => {
                    if let Some(subscriber) = self.peers[peer_ix].subscriber() {
                        subscriber.estimator.transport_feedback(&feedback, now);
                    }
                }
                Rtcp::Remb(remb) => {
                    if let Some(subscriber) = self.peers[peer_ix].subscriber() {
                        subscriber.estimator.remb(remb.bitrate, now);
                    }
                }
                Rtcp::Bye(_) | Rtcp::Sdes(_) | Rtcp::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    /// Maps the publisher's RTP timestamps to its NTP clock, and that to the plane's clock
    /// (RFC 3550 §6.4.1).
    fn handle_sender_report(&mut self, now: Instant, peer_ix: PeerIx, report: &SenderReport<'_>) {
        let Role::Publisher(publisher) = &mut self.peers[peer_ix].role else {
            return;
        };
        let Some(source) = publisher.sources.get_mut(&report.ssrc) else {
            return;
        };
        let RtpSource {
            media,
            layer,
            kind: SourceKind::Media(receiver),
        } = source
        else {
            return;
        };
        receiver.reception.sender_report(report.ntp, now);
        let offset = *publisher
            .clock_offset
            .get_or_insert(self.wall.ntp(now).0.wrapping_sub(report.ntp.0));
        let clock = ClockReport {
            ntp: report.ntp.0.wrapping_add(offset),
            rtp_time: report.rtp_time,
            arrival: now,
        };
        let track = publisher.media[media.position()].track;
        self.tracks[track].set_clock(*layer, clock, &self.counters);
    }

    /// Passes a subscriber's reception report of one of our streams to its estimator.
    fn handle_report_block(&mut self, now: Instant, peer_ix: PeerIx, block: &ReportBlock) {
        let arrival = self.wall.ntp(now);
        let Some(subscriber) = self.peers[peer_ix].subscriber() else {
            return;
        };
        let round_trip = ntp::round_trip_time(arrival, block.last_sr, block.delay_since_last_sr);
        if subscriber.slot_of(block.ssrc).is_some() {
            subscriber.estimator.receiver_report(block, round_trip, now);
        }
    }

    /// Requests a keyframe of the layer that the subscriber receives. Requests of all subscribers
    /// of a layer are merged into one.
    fn handle_keyframe_request(&mut self, peer_ix: PeerIx, media: Ssrc) {
        let Role::Subscriber(subscriber) = &self.peers[peer_ix].role else {
            return;
        };
        let Some(slot_ix) = subscriber.slot_of(media) else {
            return;
        };
        let Some(track_ix) = subscriber.slots[slot_ix.position()].track else {
            return;
        };
        let track = &mut self.tracks[track_ix];
        let layer = track
            .fanout
            .get(peer_ix, slot_ix)
            .and_then(|forwarder| forwarder.current().or(forwarder.target()));
        if let Some(layer) = layer {
            track.media.request_keyframe(layer);
        }
    }

    /// Queues the retransmissions; they are sent before fresh packets.
    fn handle_nack(&mut self, peer_ix: PeerIx, nack: &Nack<'_>) {
        let Role::Subscriber(subscriber) = &self.peers[peer_ix].role else {
            return;
        };
        let Some(slot) = subscriber.slot_of(nack.media) else {
            return;
        };
        for wire in nack.lost().take(MAX_RESEND) {
            self.queue_resend(peer_ix, slot, Resend::Rtx(wire));
        }
    }
}
