//! RTCP that comes in: clocks of publishers, wishes and reports of subscribers.

use std::time::Instant;

use super::Shard;
use super::peer::{Peer, Role, Source, Stream};
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::publish::track::ClockReport;
use crate::rtp::ntp;
use crate::rtp::rtcp::{self, Nack, ReportBlock, Rtcp, SenderReport};
use crate::stats::Counters;

/// Packets that one NACK may bring back at most: a receiver that lost more than this needs a keyframe, not a resend.
const MAX_RESEND: usize = 128;

impl Shard {
    /// One compound packet, already opened.
    pub(super) fn handle_rtcp(&mut self, now: Instant, at: usize, compound: &[u8]) -> Result<(), DropReason> {
        self.peers[at].transport.heard(now);
        for packet in rtcp::parse(compound) {
            match packet.map_err(|_| DropReason::RtcpMalformed)? {
                Rtcp::SenderReport(report) => {
                    self.take_clock(now, at, &report);
                    report.reports().for_each(|block| self.take_report(now, at, &block));
                }
                Rtcp::ReceiverReport(report) => report.reports().for_each(|block| self.take_report(now, at, &block)),
                Rtcp::Nack(nack) => self.resend(now, at, &nack),
                Rtcp::Pli { media, .. } => self.wish_keyframe(at, media),
                Rtcp::Fir(fir) => fir.entries().for_each(|entry| self.wish_keyframe(at, entry.media)),
                Rtcp::TransportFeedback(feedback) => {
                    if let Role::Subscriber(subscriber) = &mut self.peers[at].role {
                        subscriber.estimator.transport_feedback(&feedback, now);
                    }
                }
                Rtcp::Remb(remb) => {
                    if let Role::Subscriber(subscriber) = &mut self.peers[at].role {
                        subscriber.estimator.remb(remb.bitrate, now);
                    }
                }
                Rtcp::Bye(_) | Rtcp::Sdes(_) | Rtcp::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    /// A publisher's sender report ties its timestamps to its clock, and that to ours.
    fn take_clock(&mut self, now: Instant, at: usize, report: &SenderReport<'_>) {
        let Role::Publisher(publisher) = &mut self.peers[at].role else { return };
        let Some(source) = publisher.sources.get_mut(&report.ssrc) else { return };
        let Source { media, layer, stream: Stream::Media(receiving) } = source else { return };
        receiving.reception.sender_report(report.ntp, now);
        let offset = *publisher.clock_offset.get_or_insert(self.wall.ntp(now).0.wrapping_sub(report.ntp.0));
        let clock = ClockReport { ntp: report.ntp.0.wrapping_add(offset), rtp_time: report.rtp_time, arrival: now };
        let track = publisher.media[*media].track;
        self.tracks[track].set_clock(*layer, clock, &self.counters);
    }

    /// What a subscriber says of one stream of ours.
    fn take_report(&mut self, now: Instant, at: usize, block: &ReportBlock) {
        let arrival = self.wall.ntp(now);
        let Role::Subscriber(subscriber) = &mut self.peers[at].role else { return };
        let round_trip = ntp::round_trip(arrival, block.last_sr, block.delay_since_last_sr);
        if subscriber.slot_of(block.ssrc).is_some() {
            subscriber.estimator.receiver_report(block, round_trip, now);
        }
    }

    /// A subscriber cannot decode a stream: its layer's publisher is asked, once for all who wish it.
    fn wish_keyframe(&mut self, at: usize, media: Ssrc) {
        let Role::Subscriber(subscriber) = &self.peers[at].role else { return };
        let Some(nth) = subscriber.slot_of(media) else { return };
        let Some(track) = subscriber.slots[nth].track else { return };
        let hosted = &mut self.tracks[track];
        let layer =
            hosted.forwards.iter().find(|f| f.peer == at && f.slot == nth).and_then(|f| f.current().or(f.target()));
        if let Some(layer) = layer {
            hosted.track.want_keyframe(layer);
        }
    }

    /// Answers a NACK from the ring, over the retransmission stream.
    fn resend(&mut self, now: Instant, at: usize, nack: &Nack<'_>) {
        let Shard { peers, tracks, counters, control, .. } = self;
        let Some(Peer { line: Some(line), role: Role::Subscriber(subscriber), .. }) = peers.get_mut(at) else { return };
        let Some(nth) = subscriber.slot_of(nack.media) else { return };
        let Some(hosted) = subscriber.slots[nth].track.and_then(|track| tracks.get_mut(track)) else { return };
        let Some(forward) = hosted.forwards.iter_mut().find(|f| f.peer == at && f.slot == nth) else { return };
        let mut space = [0; crate::subscribe::arena::MAX_DATAGRAM];
        for wire in nack.lost().take(MAX_RESEND) {
            if !subscriber.resend_budget.take(now, subscriber.estimator.estimate()) {
                counters.dropped(DropReason::ResendBudget);
                continue;
            }
            let Some(len) = forward.write_resend(&hosted.track, wire, now, line.twcc, &mut line.sealer, &mut space)
            else {
                continue;
            };
            line.sent(&mut subscriber.estimator, forward.is_numbered(), len, now);
            subscriber.resend_budget.spend(len);
            control.push_back((line.address, bytes::Bytes::copy_from_slice(&space[..len])));
            Counters::add(&counters.packets_resent, 1);
        }
    }
}
