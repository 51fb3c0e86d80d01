//! Timers of a shard: NACKs, feedback, keyframe requests, reports, layer allocation and timeouts.
//!
//! One tick serves all of them. Within a longer period a peer's index is its phase, so that a
//! thousand reports are not sent at once.

use std::time::{Duration, Instant};

use super::peer::{Peer, Role, Slot};
use super::resend_queue::Resend;
use super::track::{Origin, ShardTrack};
use super::{Shard, TICK, TRACK_SILENCE_TIMEOUT};
use crate::command::Event;
use crate::index::{IndexSlab, PeerIx, SlotIx, TrackIx};
use crate::sdp::Codec;
use crate::subscribe::forwarder::PADDING_LEN;

/// A tick runs up to this much early if the thread is awake anyway: the wake-up (25–50 µs of CPU
/// time on a virtual machine) costs more than the tick.
const MAX_EARLY: Duration = Duration::from_millis(8);

/// Period of each peer's timers, in ticks: transport timers (the shortest is DTLS's first
/// retransmission after 1 s), bandwidth estimation and layer allocation.
const PEER_INTERVAL_TICKS: u64 = 10;

/// Period of sender and receiver reports in ticks, a multiple of [`PEER_INTERVAL_TICKS`]. RFC 3550
/// §6.2 recommends 5 s; with 1 s, lip sync and round-trip times are known soon after the start.
const REPORT_PERIOD: u64 = 100;

impl Shard {
    /// Runs the timers that are due. Returns true if any was, and there may be output.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let Some(due) = self.next_tick.filter(|due| now + MAX_EARLY >= *due) else {
            return false;
        };
        (self.ticks, self.paced_in_tick) = (self.ticks + 1, 0);
        for position in 0..self.publishers.len() {
            let peer_ix = self.publishers[position];
            self.send_nacks(now, peer_ix);
            self.send_feedback(now, peer_ix);
        }
        for peer_ix in self.peers_due() {
            self.run_peer_timers(now, peer_ix);
        }
        self.continue_probes(now);
        self.request_keyframes(now);
        if self.ticks.is_multiple_of(REPORT_PERIOD) {
            self.detect_silence(now);
        }
        self.report_queue_depths();
        self.next_tick = (!self.peers.is_empty()).then(|| due.max(now) + TICK);
        true
    }

    /// Returns the peers whose timers run in this tick. The memory of the others is not touched.
    fn peers_due(&self) -> impl Iterator<Item = PeerIx> + use<> {
        let first = (PEER_INTERVAL_TICKS - self.ticks % PEER_INTERVAL_TICKS) % PEER_INTERVAL_TICKS;
        (first as usize..self.peers.capacity())
            .step_by(PEER_INTERVAL_TICKS as usize)
            .map(PeerIx::new)
    }

    fn run_peer_timers(&mut self, now: Instant, peer_ix: PeerIx) {
        let Some(peer) = self.peers.get_mut(peer_ix) else {
            return;
        };
        if peer.transport.poll_timeout().is_some_and(|due| due <= now) {
            peer.transport.handle_timeout(now);
            self.drain_transport(now, peer_ix);
        }
        let Some(peer) = self.peers.get(peer_ix).filter(|peer| peer.send.is_some()) else {
            return;
        };
        let is_publisher = matches!(peer.role, Role::Publisher(_));
        let report = (self.ticks + peer_ix.position() as u64).is_multiple_of(REPORT_PERIOD);
        match (is_publisher, report) {
            (true, false) => {}
            (true, true) => self.send_receiver_report(now, peer_ix),
            (false, _) => {
                self.allocate(now, peer_ix);
                if !self.probing.contains(&peer_ix) && self.probe(now, peer_ix) {
                    self.probing.push(peer_ix);
                }
                if report {
                    self.send_sender_reports(now, peer_ix);
                }
            }
        }
    }

    fn continue_probes(&mut self, now: Instant) {
        let mut probing = std::mem::take(&mut self.probing);
        probing.retain(|peer_ix| self.probe(now, *peer_ix));
        self.probing = probing;
    }

    /// Queues the padding of a bandwidth probe. Returns false if the estimator requests none.
    fn probe(&mut self, now: Instant, peer_ix: PeerIx) -> bool {
        let Some(subscriber) = self.peers.get_mut(peer_ix).and_then(Peer::subscriber) else {
            return false;
        };
        let Some(plan) = subscriber.estimator.probe(now) else {
            return false;
        };
        let Some(slot) = padding_slot(&self.tracks, &subscriber.slots) else {
            return false;
        };
        for _ in 0..plan.padding_bytes.div_ceil(PADDING_LEN) {
            self.queue_resend(peer_ix, slot, Resend::Padding);
        }
        true
    }

    /// Reports local tracks without packets as silent, and drops taps whose recorder is gone.
    fn detect_silence(&mut self, now: Instant) {
        for track in self.tracks.values_mut() {
            track.taps.retain(|tap| !tap.is_abandoned());
            let newest = track
                .media
                .layers
                .iter()
                .filter_map(|layer| layer.last_arrival)
                .max();
            let silent = newest.is_none_or(|newest| {
                now.saturating_duration_since(newest) >= TRACK_SILENCE_TIMEOUT
            });
            if track.live && silent && matches!(track.origin, Origin::Local { .. }) {
                track.live = false;
                self.events.push(
                    self.ticks,
                    Event::TrackSilent {
                        track: track.media.id,
                    },
                    &self.counters,
                );
            }
        }
    }
}

/// Returns a slot whose retransmission stream can carry padding: any slot with a video track, even
/// a paused one.
fn padding_slot(tracks: &IndexSlab<TrackIx, ShardTrack>, slots: &[Slot]) -> Option<SlotIx> {
    let has_video = |slot: &Slot| {
        slot.track
            .and_then(|track_ix| tracks.get(track_ix))
            .is_some_and(|track| track.media.codec != Codec::Opus)
    };
    slots.iter().position(has_video).map(SlotIx::new)
}
