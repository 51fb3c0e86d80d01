//! RTCP that comes in: clocks of publishers, wishes and reports of subscribers.

use std::time::Instant;

use super::Shard;
use super::owed::{Debt, Owed};
use super::peer::{Role, Source, Stream};
use crate::drop_reason::DropReason;
use crate::ids::Ssrc;
use crate::index::PeerIx;
use crate::publish::track::ClockReport;
use crate::rtp::ntp;
use crate::rtp::rtcp::{self, Nack, ReportBlock, Rtcp, SenderReport};

/// Packets that one NACK may bring back at most: a receiver that lost more than this needs a keyframe, not a resend.
const MAX_RESEND: usize = 128;

impl Shard {
    /// One compound packet, already opened.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Instant,
        at: PeerIx,
        compound: &[u8],
    ) -> Result<(), DropReason> {
        self.peers[at].transport.heard(now);
        for packet in rtcp::parse(compound) {
            match packet.map_err(|_| DropReason::RtcpMalformed)? {
                Rtcp::SenderReport(report) => {
                    self.take_clock(now, at, &report);
                    report
                        .reports()
                        .for_each(|block| self.take_report(now, at, &block));
                }
                Rtcp::ReceiverReport(report) => report
                    .reports()
                    .for_each(|block| self.take_report(now, at, &block)),
                Rtcp::Nack(nack) => self.resend(at, &nack),
                Rtcp::Pli { media, .. } => self.wish_keyframe(at, media),
                Rtcp::Fir(fir) => fir
                    .entries()
                    .for_each(|entry| self.wish_keyframe(at, entry.media)),
                Rtcp::TransportFeedback(feedback) => {
                    if let Some(subscriber) = self.peers[at].subscriber() {
                        subscriber.estimator.transport_feedback(&feedback, now);
                    }
                }
                Rtcp::Remb(remb) => {
                    if let Some(subscriber) = self.peers[at].subscriber() {
                        subscriber.estimator.remb(remb.bitrate, now);
                    }
                }
                Rtcp::Bye(_) | Rtcp::Sdes(_) | Rtcp::Unknown { .. } => {}
            }
        }
        Ok(())
    }

    /// A publisher's sender report ties its timestamps to its clock, and that to ours.
    fn take_clock(&mut self, now: Instant, at: PeerIx, report: &SenderReport<'_>) {
        let Role::Publisher(publisher) = &mut self.peers[at].role else {
            return;
        };
        let Some(source) = publisher.sources.get_mut(&report.ssrc) else {
            return;
        };
        let Source {
            media,
            layer,
            stream: Stream::Media(receiving),
        } = source
        else {
            return;
        };
        receiving.reception.sender_report(report.ntp, now);
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

    /// What a subscriber says of one stream of ours.
    fn take_report(&mut self, now: Instant, at: PeerIx, block: &ReportBlock) {
        let arrival = self.wall.ntp(now);
        let Some(subscriber) = self.peers[at].subscriber() else {
            return;
        };
        let round_trip = ntp::round_trip_time(arrival, block.last_sr, block.delay_since_last_sr);
        if subscriber.slot_of(block.ssrc).is_some() {
            subscriber.estimator.receiver_report(block, round_trip, now);
        }
    }

    /// A subscriber cannot decode a stream: its layer's publisher is asked, once for all who wish it.
    fn wish_keyframe(&mut self, at: PeerIx, media: Ssrc) {
        let Role::Subscriber(subscriber) = &self.peers[at].role else {
            return;
        };
        let Some(nth) = subscriber.slot_of(media) else {
            return;
        };
        let Some(track) = subscriber.slots[nth.position()].track else {
            return;
        };
        let hosted = &mut self.tracks[track];
        let layer = hosted
            .audience
            .get(at, nth)
            .and_then(|forward| forward.current().or(forward.target()));
        if let Some(layer) = layer {
            hosted.track.want_keyframe(layer);
        }
    }

    /// A subscriber misses packets: they go out again before anything new does.
    fn resend(&mut self, at: PeerIx, nack: &Nack<'_>) {
        let Role::Subscriber(subscriber) = &self.peers[at].role else {
            return;
        };
        let Some(slot) = subscriber.slot_of(nack.media) else {
            return;
        };
        for wire in nack.lost().take(MAX_RESEND) {
            self.owe(Owed {
                peer: at,
                slot,
                what: Debt::Resend(wire),
            });
        }
    }
}
