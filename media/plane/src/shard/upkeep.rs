//! What happens because time passes: losses are asked for again, keyframes requested, reports sent, layers chosen, the dead removed.
//!
//! One tick serves all; a peer's turn within a longer period depends on its index, so that a thousand reports do not leave at once.

use std::time::{Duration, Instant};

use super::hosted::{Hosted, Origin};
use super::owed::{Debt, Owed};
use super::peer::{Peer, Publisher, Role, Slot, Source, Stream, Subscriber};
use super::{SILENCE, Shard, TICK};
use crate::command::{Command, Event};
use crate::ids::Ssrc;
use crate::index::{IndexSlab, PeerIx, SlotIx, TrackIx};
use crate::rtp::NtpTime;
use crate::rtp::rtcp::{BufferFull, Compound};
use crate::sdp::Codec;
use crate::stats::Counters;
use crate::subscribe::allocator::{self, Item, Priority};
use crate::subscribe::arena::MAX_DATAGRAM;
use crate::subscribe::copies;
use crate::subscribe::forward::PADDING_LEN;
use crate::transport::srtp::MAX_TRAILER;
use crate::units::{Bitrate, SeqNo};

/// A tick that is due so soon is done by a thread that is awake anyway: to be woken for it once more is what a tick mostly costs (on a
/// virtual machine 25 to 50 µs of processor time, of which its work is a fraction).
const EARLY: Duration = Duration::from_millis(8);

/// In ticks: each peer's turn, in which its transport looks at its timers (the shortest is DTLS's first retransmission after 1 s) and a
/// subscriber's line is estimated and its layers chosen.
const TURN: u64 = 10;
/// In ticks, a multiple of [`TURN`]: sender and receiver reports. RFC 3550 §6.2 asks for 5 s; a second makes lip sync and round trips known at the start.
const REPORT_PERIOD: u64 = 100;

/// Keyframes of a layer are asked for no more often: an encoder that makes one every half second is already half as good.
const KEYFRAME_PACE: Duration = Duration::from_millis(500);

/// Numbers that one NACK asks for: what fits a packet with room to spare.
const NACK_BATCH: usize = 128;

/// RTCP compounds stay below the path MTU.
const COMPOUND_BYTES: usize = 1_200;

impl Shard {
    /// Does what is due. True when it was, and there may be something to send.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let Some(due) = self.next_tick.filter(|due| now + EARLY >= *due) else {
            return false;
        };
        (self.ticks, self.paced) = (self.ticks + 1, 0);
        for nth in 0..self.publishers.len() {
            let at = self.publishers[nth];
            self.ask_again(now, at);
            self.send_feedback(now, at);
        }
        for at in self.whose_turn() {
            self.look_after(now, at);
        }
        self.probe_lines(now);
        self.request_keyframes(now);
        if self.ticks.is_multiple_of(REPORT_PERIOD) {
            self.notice_silence(now);
        }
        self.gauge_queues();
        self.next_tick = (!self.peers.is_empty()).then(|| due.max(now) + TICK);
        true
    }

    /// The indices of those whose turn is now; the memory of the others is not touched.
    fn whose_turn(&self) -> impl Iterator<Item = PeerIx> + use<> {
        let first = (TURN - self.ticks % TURN) % TURN;
        (first as usize..self.peers.capacity())
            .step_by(TURN as usize)
            .map(PeerIx::new)
    }

    fn look_after(&mut self, now: Instant, at: PeerIx) {
        let Some(peer) = self.peers.get_mut(at) else {
            return;
        };
        if peer.transport.poll_timeout().is_some_and(|due| due <= now) {
            peer.transport.handle_timeout(now);
            self.drain_transport(now, at);
        }
        let Some(peer) = self.peers.get(at).filter(|peer| peer.line.is_some()) else {
            return;
        };
        let is_publisher = matches!(peer.role, Role::Publisher(_));
        let report = (self.ticks + at.position() as u64).is_multiple_of(REPORT_PERIOD);
        match (is_publisher, report) {
            (true, false) => {}
            (true, true) => self.report_reception(now, at),
            (false, _) => {
                self.allocate(now, at);
                if !self.probing.contains(&at) && self.probe(now, at) {
                    self.probing.push(at);
                }
                if report {
                    self.report_sending(now, at);
                }
            }
        }
    }

    /// Goes on with the probes under way.
    fn probe_lines(&mut self, now: Instant) {
        let mut probing = std::mem::take(&mut self.probing);
        probing.retain(|at| self.probe(now, *at));
        self.probing = probing;
    }

    /// NACKs for what a publisher's layers miss.
    fn ask_again(&mut self, now: Instant, at: PeerIx) {
        let (reporter, tracks) = (self.reporter, &mut self.tracks);
        let Role::Publisher(publisher) = &mut self.peers[at].role else {
            return;
        };
        let mut requests: Vec<(Ssrc, Vec<u16>)> = Vec::new();
        let Publisher { media, sources, .. } = &mut **publisher;
        for (ssrc, source) in sources {
            let Source {
                media: nth,
                layer,
                stream: Stream::Media(receiving),
            } = source
            else {
                continue;
            };
            let published = &media[nth.position()];
            let Some(held) = tracks[published.track]
                .track
                .layers
                .get_mut(usize::from(*layer))
            else {
                continue;
            };
            if let Some(newest) = held.ring.newest() {
                receiving.nack.forget_before(SeqNo(
                    newest.0.saturating_sub(held.ring.capacity() as u64 - 1),
                ));
            }
            let mut missing = [SeqNo(0); NACK_BATCH];
            let polled = receiving.nack.poll(now, &mut missing);
            if polled.given_up > 0 && published.formats.codec != Codec::Opus {
                held.keyframe_wanted = true;
            }
            // A voice that is asked for again comes too late; in-band FEC and RED repair it.
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
            self.send_rtcp(at, |compound| compound.nack(reporter, ssrc, missing));
        }
    }

    /// Transport-wide feedback to a publisher, when it is due.
    fn send_feedback(&mut self, now: Instant, at: PeerIx) {
        let reporter = self.reporter;
        let mut more = true;
        while more {
            let Role::Publisher(publisher) = &mut self.peers[at].role else {
                return;
            };
            if !publisher.feedback.is_due(now) {
                return;
            }
            // draft-holmer §3.1: the media SSRC may be any of the sender's.
            let media = publisher.sources.keys().next().copied().unwrap_or_default();
            let mut space = [0; MAX_DATAGRAM];
            let mut compound = Compound::new(&mut space[..COMPOUND_BYTES]);
            more = publisher
                .feedback
                .write(reporter, media, &mut compound, now)
                .is_ok_and(|more| more);
            let len = compound.len();
            self.seal_rtcp(at, &mut space, len);
        }
    }

    fn report_reception(&mut self, now: Instant, at: PeerIx) {
        let reporter = self.reporter;
        let Role::Publisher(publisher) = &mut self.peers[at].role else {
            return;
        };
        let mut blocks = Vec::new();
        for source in publisher.sources.values_mut() {
            if let Stream::Media(receiving) = &mut source.stream {
                blocks.extend(receiving.reception.report(now));
            }
        }
        let lost = blocks
            .iter()
            .map(|block| block.fraction_lost)
            .max()
            .unwrap_or(0);
        self.send_rtcp(at, |compound| {
            compound.receiver_report(reporter, &blocks)?;
            compound.cname(reporter, CNAME)
        });
        let peer = self.peers[at].id;
        self.tell(Event::Link {
            peer,
            estimate: Bitrate::ZERO,
            loss: f32::from(lost) / 256.0,
            rtt: Duration::ZERO,
        });
    }

    /// Sender reports for every slot that flows, and the state of the line for the server.
    fn report_sending(&mut self, now: Instant, at: PeerIx) {
        let Role::Subscriber(subscriber) = &self.peers[at].role else {
            return;
        };
        let mut reports = Vec::new();
        for (nth, slot) in subscriber.slots.iter().enumerate() {
            let Some(hosted) = slot.track.and_then(|track| self.tracks.get(track)) else {
                continue;
            };
            let Some(forward) = hosted.audience.get(at, SlotIx::new(nth)) else {
                continue;
            };
            reports.extend(
                forward
                    .report(&hosted.track, now)
                    .map(|report| (Ssrc(slot.ssrc), report)),
            );
        }
        let link = Event::Link {
            peer: self.peers[at].id,
            estimate: subscriber.estimator.estimate(),
            loss: subscriber.estimator.loss(),
            rtt: subscriber.estimator.rtt().unwrap_or_default(),
        };
        for (ssrc, (ntp, rtp_time, sent)) in reports {
            self.send_rtcp(at, |compound| {
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
        self.tell(link);
    }

    /// One PLI per layer that somebody waits for, paced; imported tracks ask their owner's shard.
    fn request_keyframes(&mut self, now: Instant) {
        let reporter = self.reporter;
        let mut wanted = Vec::new();
        for hosted in self.tracks.values_mut() {
            for (layer, held) in hosted.track.layers.iter_mut().enumerate() {
                if !held.take_keyframe_request(now, KEYFRAME_PACE) {
                    continue;
                }
                match &hosted.origin {
                    Origin::Local { peer, media } => wanted.push((*peer, *media, layer as u8)),
                    Origin::Remote { owner, .. } => {
                        held.keyframe_wanted = false;
                        let command = Command::Keyframe {
                            track: hosted.track.id,
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

    /// Decides which layer of everything a subscriber gets.
    pub(super) fn allocate(&mut self, now: Instant, at: PeerIx) {
        let Shard {
            peers,
            tracks,
            news,
            ticks,
            counters,
            ..
        } = self;
        let Some(peer) = peers.get_mut(at) else {
            return;
        };
        let id = peer.id;
        let Some(subscriber) = peer.subscriber() else {
            return;
        };
        subscriber.estimator.handle_timeout(now);
        let Subscriber {
            slots,
            shares,
            estimator,
            beginnings,
            plain_voices,
            pace,
            ..
        } = subscriber;
        if std::mem::replace(beginnings, estimator.beginnings()) != estimator.beginnings() {
            shares.iter_mut().for_each(Item::forgive);
        }
        for (slot, share) in slots.iter().zip(shares.iter_mut()) {
            (share.layers, share.peaks) = Default::default();
            let (Some(shown), Some(hosted)) = (
                slot.shown,
                slot.track.and_then(|track| tracks.get_mut(track)),
            ) else {
                continue;
            };
            (share.priority, share.max_layer) = (shown.priority, shown.max_layer);
            let demand = hosted.track.demand(now, shown.priority == Priority::Slides);
            (share.layers, share.peaks) = (demand.rates, demand.peaks);
        }
        let estimate = estimator.estimate().max(without_voice(shares));
        *plain_voices = copies::do_not_fit(shares, estimate, *plain_voices);
        if *plain_voices {
            copies::take_off(shares);
        }
        let allocation = allocator::allocate(estimate, now, shares);
        estimator.set_wanted(allocation.wanted);
        pace.set(estimate, shares);
        let narrow = pace.is_narrow();
        for (nth, (slot, share)) in slots.iter_mut().zip(shares).enumerate() {
            let Some(hosted) = slot.track.and_then(|track| tracks.get_mut(track)) else {
                continue;
            };
            let Some(forward) = hosted.audience.get_mut(at, SlotIx::new(nth)) else {
                continue;
            };
            forward.set_plain(*plain_voices);
            forward.set_paced(narrow && share.priority != Priority::Voice);
            if forward.target() != share.layer() {
                forward.set_target(share.layer());
                if let Some(layer) = share.layer() {
                    hosted.track.want_keyframe(layer);
                }
            }
            let state = (hosted.track.id, forward.current());
            if slot.told != Some(state) {
                let (track, layer) = state;
                let told = Event::SlotLayer {
                    peer: id,
                    mid: slot.mid.clone(),
                    track,
                    layer,
                };
                // What was dropped is told at the next turn.
                slot.told = news.tell(*ticks, told, counters).then_some(state);
            }
        }
        if narrow {
            self.begin_pacing(at);
        }
    }

    /// Fills a line that might carry more with padding, for as long as the estimator asks.
    /// False when it asks for nothing.
    fn probe(&mut self, now: Instant, at: PeerIx) -> bool {
        let Some(subscriber) = self.peers.get_mut(at).and_then(Peer::subscriber) else {
            return false;
        };
        let Some(plan) = subscriber.estimator.probe(now) else {
            return false;
        };
        let Some(slot) = padded_slot(&self.tracks, &subscriber.slots) else {
            return false;
        };
        for _ in 0..plan.padding_bytes.div_ceil(PADDING_LEN) {
            self.owe(Owed {
                peer: at,
                slot,
                what: Debt::Padding,
            });
        }
        true
    }

    fn notice_silence(&mut self, now: Instant) {
        for hosted in self.tracks.values_mut() {
            hosted.taps.retain(|tap| !tap.is_abandoned());
            let newest = hosted
                .track
                .layers
                .iter()
                .filter_map(|layer| layer.last_arrival)
                .max();
            let silent =
                newest.is_none_or(|newest| now.saturating_duration_since(newest) >= SILENCE);
            if hosted.live && silent && matches!(hosted.origin, Origin::Local { .. }) {
                hosted.live = false;
                self.news.tell(
                    self.ticks,
                    Event::TrackSilent {
                        track: hosted.track.id,
                    },
                    &self.counters,
                );
            }
        }
    }

    fn send_rtcp(
        &mut self,
        at: PeerIx,
        build: impl FnOnce(&mut Compound<'_>) -> Result<(), BufferFull>,
    ) {
        let mut space = [0; MAX_DATAGRAM];
        let mut compound = Compound::new(&mut space[..COMPOUND_BYTES]);
        if build(&mut compound).is_err() {
            return;
        }
        let len = compound.len();
        self.seal_rtcp(at, &mut space, len);
    }

    /// Seals the compound in `space[..len]` and queues it.
    fn seal_rtcp(&mut self, at: PeerIx, space: &mut [u8; MAX_DATAGRAM], len: usize) {
        const { assert!(COMPOUND_BYTES + MAX_TRAILER <= MAX_DATAGRAM) };
        let Some(Peer {
            line: Some(line),
            rtcp: Some(sealer),
            ..
        }) = self.peers.get_mut(at)
        else {
            return;
        };
        let to = line.path;
        let Some(sealed) = sealer.protect(space, len) else {
            return;
        };
        self.queue_control(to, bytes::Bytes::copy_from_slice(&space[..sealed]));
    }
}

/// RFC 8834 §4.9: one CNAME for everything that a peer connection sends; it tells nothing about anybody.
const CNAME: &str = "tongke";

/// A slot whose retransmission stream can carry padding: of a picture, flowing or paused for want of room.
fn padded_slot(tracks: &IndexSlab<TrackIx, Hosted>, slots: &[Slot]) -> Option<SlotIx> {
    let shows_picture = |slot: &Slot| {
        slot.track
            .and_then(|at| tracks.get(at))
            .is_some_and(|h| h.track.codec != Codec::Opus)
    };
    slots.iter().position(shows_picture).map(SlotIx::new)
}

/// What a subscriber that gets no voice is sent however little its line seems to carry: the lowest layer of its most important picture.
/// There is no voice to protect, and a line on which nothing flows would never tell that it has become better. Zero where there is a voice.
fn without_voice(shares: &[Item<SlotIx>]) -> Bitrate {
    let lowest = |share: &Item<SlotIx>| {
        share
            .layers
            .iter()
            .copied()
            .find(|rate| *rate > Bitrate::ZERO)
    };
    let flowing = shares.iter().filter(|share| lowest(share).is_some());
    let Some(first) = flowing
        .min_by_key(|share| share.priority)
        .filter(|share| share.priority != Priority::Voice)
    else {
        return Bitrate::ZERO;
    };
    // A quarter above it: what the allocator wants free before it begins something.
    lowest(first).unwrap_or_default().scale(1.25)
}
