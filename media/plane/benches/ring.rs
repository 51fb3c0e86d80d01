//! Packet ring: insertion, lookup of a NACKed packet, and lookup of the keyframe for a late joiner.
//!
//! `cargo bench -p tongke-plane --bench ring -- [rounds] [insert|nack|keyframe]`
//!
//! The floor of the insertion is the copy of the payload. The last line is JSON: nanoseconds of CPU
//! per operation, 0 for operations that were not selected.

#![allow(clippy::disallowed_methods)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{arguments, begin_counting, counted, median, number, timed};
use tongke_plane::publish::ring::{PacketMeta, PacketRing};
use tongke_plane::units::SeqNo;

/// Capacity of a video layer's ring, and number of operations of one block.
const CAPACITY: usize = 1_024;
const PAYLOAD: usize = 1_164;
/// Packets between keyframes, and age in packets of the oldest keyframe that is replayed to a late
/// joiner.
const KEYFRAME_EVERY: u64 = 1_024;
const BEHIND: u64 = 128;

struct Bench {
    ring: PacketRing,
    next: u64,
    now: Instant,
}

fn main() {
    let arguments = arguments();
    let (rounds, only) = (
        number(&arguments, 0, 100),
        arguments.get(1).map(String::as_str),
    );
    let mut bench = Bench {
        ring: PacketRing::new(CAPACITY),
        next: 1,
        now: Instant::now(),
    };
    bench.fill(CAPACITY + BEHIND as usize);
    begin_counting();
    let mut figure = |name: &str, block: fn(&mut Bench) -> f64| {
        let wanted = only.is_none_or(|only| only == name);
        let mut values: Vec<f64> = (0..if wanted { rounds } else { 0 })
            .map(|_| block(&mut bench))
            .collect();
        if wanted { median(&mut values) } else { 0.0 }
    };
    let keyframe_ns = figure("keyframe", Bench::keyframe);
    let nack_ns = figure("nack", Bench::nack);
    let insert_ns = figure("insert", Bench::insert);
    let floor_ns = figure("floor", Bench::copy);
    println!(
        r#"{{"bench":"ring","packets":{},"insert_ns":{insert_ns:.1},"floor_ns":{floor_ns:.1},"nack_ns":{nack_ns:.1},"keyframe_ns":{keyframe_ns:.1},"keyframe_behind":{BEHIND}}}"#,
        rounds * CAPACITY
    );
}

impl Bench {
    /// Inserts as many packets as the ring holds.
    fn insert(&mut self) -> f64 {
        let mut spent = Duration::ZERO;
        timed(&mut spent, || counted(|| self.fill(CAPACITY)));
        spent.as_nanos() as f64 / CAPACITY as f64
    }

    fn fill(&mut self, packets: usize) {
        for _ in 0..packets {
            let seq = self.next;
            self.next += 1;
            let starts = seq.is_multiple_of(KEYFRAME_EVERY);
            let meta = PacketMeta {
                seq: SeqNo(seq),
                rtp_time: seq as u32,
                arrival: self.now,
                len: PAYLOAD as u16,
                pad: 0,
                marker: false,
                frame_start: starts,
                keyframe: starts,
                red: false,
                picture_ids: None,
                primary_offset: 0,
            };
            assert!(
                self.ring.insert(meta, &[0x55; PAYLOAD]),
                "the sequence number is new"
            );
        }
    }

    /// Copies the payload to as many buffers, without a ring.
    fn copy(&mut self) -> f64 {
        let (mut buffers, mut spent) = (vec![[0u8; PAYLOAD]; CAPACITY], Duration::ZERO);
        timed(&mut spent, || {
            buffers
                .iter_mut()
                .for_each(|buffer| buffer.copy_from_slice(black_box(&[0x55; PAYLOAD])))
        });
        black_box(&buffers);
        spent.as_nanos() as f64 / CAPACITY as f64
    }

    /// Looks up packets across the whole ring; one in sixteen was overwritten.
    fn nack(&mut self) -> f64 {
        let newest = self.ring.newest().expect("the ring is full").0;
        // A step coprime to the ring's size visits every slot.
        let behind = (0..CAPACITY as u64).map(|n| n * 389 % CAPACITY as u64 * 17 / 16);
        let requested: Vec<SeqNo> = behind.map(|behind| SeqNo(newest - behind)).collect();
        let (ring, mut spent) = (&self.ring, Duration::ZERO);
        let lookup = || {
            requested
                .iter()
                .filter(|seq| {
                    ring.get(**seq)
                        .is_some_and(|(_, payload)| payload[0] == 0x55)
                })
                .count()
        };
        let found = timed(&mut spent, || counted(lookup));
        assert!(
            found > CAPACITY * 15 / 16 - 4 && found < CAPACITY,
            "{found} found"
        );
        spent.as_nanos() as f64 / CAPACITY as f64
    }

    /// Looks up the keyframe at the maximum distance that is replayed to a late joiner.
    fn keyframe(&mut self) -> f64 {
        let (ring, mut spent) = (&self.ring, Duration::ZERO);
        let lookup = || {
            (0..CAPACITY)
                .filter(|_| black_box(ring).replayable_keyframe().is_some())
                .count()
        };
        assert_eq!(
            timed(&mut spent, || counted(lookup)),
            CAPACITY,
            "the keyframe is complete"
        );
        spent.as_nanos() as f64 / CAPACITY as f64
    }
}
