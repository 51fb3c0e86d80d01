//! What waits for the pace of a narrow line: every tick a little of it leaves, what matters most first.

use std::time::Instant;

use super::Shard;
use super::peer::{Peer, Role, Subscriber};
use crate::index::{PeerIx, SlotIx};
use crate::stats::Counters;
use crate::subscribe::allocator::Priority;
use crate::subscribe::arena::SendArena;

/// Pictures in the order in which they leave. A voice never waits.
const PICTURES: [Priority; 4] = [
    Priority::Slides,
    Priority::LeadVideo,
    Priority::Stage,
    Priority::Wall,
];

/// How a subscriber's turn went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The arena is full before it is over.
    Unfinished,
    /// There may be more with the next tick.
    Over,
    /// Its line is wide and nothing waits any more, or it is gone.
    Last,
}

impl Shard {
    /// Counts a subscriber among those whose pictures wait for their turn.
    pub(super) fn begin_pacing(&mut self, at: PeerIx) {
        if !self.pacing.contains(&at) {
            self.pacing.push(at);
        }
    }

    /// Goes on with the turns of this tick; true when the arena is full before all had theirs.
    pub(super) fn write_paced(&mut self, now: Instant, arena: &mut SendArena) -> bool {
        while let Some(at) = self.pacing.get(self.paced).copied() {
            match self.write_turn(now, at, arena) {
                Turn::Unfinished => return true,
                Turn::Over => self.paced += 1,
                Turn::Last => {
                    self.pacing.swap_remove(self.paced);
                }
            }
        }
        false
    }

    fn write_turn(&mut self, now: Instant, at: PeerIx, arena: &mut SendArena) -> Turn {
        let Shard {
            peers,
            tracks,
            counters,
            ..
        } = self;
        let Some(Peer {
            line: Some(line),
            role: Role::Subscriber(subscriber),
            ..
        }) = peers.get_mut(at)
        else {
            return Turn::Last;
        };
        let Subscriber {
            slots,
            estimator,
            pace,
            ..
        } = &mut **subscriber;
        line.settle(estimator);
        let mut more = false;
        for priority in PICTURES {
            for (nth, slot) in slots
                .iter()
                .enumerate()
                .filter(|(_, slot)| slot.has_priority(priority))
            {
                let Some(hosted) = slot.track.and_then(|track| tracks.get_mut(track)) else {
                    continue;
                };
                let Some(forward) = hosted.audience.get_mut(at, SlotIx::new(nth)) else {
                    continue;
                };
                while pace.has_any(now) {
                    if !arena.has_room(1) {
                        return Turn::Unfinished;
                    }
                    let Some((layer, seq)) = forward.take_held(&hosted.track) else {
                        break;
                    };
                    let written = forward.write(
                        &hosted.track,
                        layer,
                        seq,
                        line.twcc,
                        &mut line.sealer,
                        arena.space(),
                    );
                    let Some(len) = written else { continue };
                    arena.commit(line.path, len);
                    pace.spend(len);
                    if line.sent(forward.is_numbered(), len, now) {
                        line.settle(estimator);
                    }
                    Counters::add(&counters.packets_forwarded, 1);
                }
                more |= forward.holds_any();
            }
        }
        if pace.is_narrow() || more {
            Turn::Over
        } else {
            Turn::Last
        }
    }
}
