//! Forwarding of one publisher to N subscribers over real sockets. The floor is the same number of
//! copies, encryptions and sends.
//!
//! `cargo bench -p tongke-plane --bench forward -- [subscribers] [rounds] [scenario] [paced]`
//!
//! | scenario | content |
//! |---|---|
//! | `picture` | video: frames of five packets, one layer |
//! | `voice` | audio: one packet of 120 bytes every 20 ms, too sparse for GSO |
//! | `lesson` | the best of three simulcast layers, recorded; see below |
//!
//! In `lesson`, every seventh subscriber NACKs a packet each tenth of a second, and the shard's
//! processing of feedback, NACKs and reports is measured as well.
//!
//! `paced` waits for the frame interval of a camera. On such a live server other work has evicted
//! the caches between frames. Without it, frames follow each other at once, as on a saturated
//! server.
//!
//! Both sides run one block in turn in one process. The CPU time of this thread is measured;
//! another thread drains the receivers. The last line is JSON.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../tests/support/mod.rs"]
mod support;

mod drain;
mod floor;
mod lesson;
mod pace;

use std::time::Duration;

use common::{arguments, begin_counting, median, number};
use drain::Drain;
use floor::Floor;
use lesson::Bench;
use pace::Pace;
use tongke_plane::Codec;
use tongke_plane::io::MediaSocket;

/// Negotiated ID of the transport-wide sequence number extension.
pub(crate) use support::TWCC_ID;

/// Content of the forwarded stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Video,
    Audio,
    Lesson,
}

impl Scenario {
    fn named(name: &str) -> Option<Scenario> {
        [Scenario::Video, Scenario::Audio, Scenario::Lesson]
            .into_iter()
            .find(|scenario| scenario.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Scenario::Video => "picture",
            Scenario::Audio => "voice",
            Scenario::Lesson => "lesson",
        }
    }

    pub(crate) fn codec(self) -> Codec {
        if self == Scenario::Audio {
            Codec::Opus
        } else {
            Codec::H264
        }
    }

    /// Packets of a frame by layer, lowest first; subscribers receive the last one.
    pub(crate) fn layers(self) -> &'static [usize] {
        match self {
            Scenario::Video => &[5],
            Scenario::Audio => &[1],
            Scenario::Lesson => &[1, 2, 5],
        }
    }

    /// Packets of a frame that each subscriber receives.
    pub(crate) fn packets(self) -> usize {
        self.layers().last().copied().unwrap_or(0)
    }

    /// Payload size in bytes: a datagram of 1200 bytes with header, extension and tag, or RED audio
    /// at 32 kbit/s.
    pub(crate) fn payload(self) -> usize {
        if self == Scenario::Audio { 120 } else { 1_164 }
    }

    pub(crate) fn frame(self) -> Duration {
        Duration::from_millis(if self == Scenario::Audio { 20 } else { 33 })
    }
}

/// Frames of one block.
pub(crate) const FRAMES_PER_BLOCK: usize = 30;

fn main() {
    let arguments = arguments();
    let (subscribers, rounds) = (number(&arguments, 0, 100), number(&arguments, 1, 20));
    let name = arguments.get(2).map_or("picture", String::as_str);
    let scenario = Scenario::named(name)
        .unwrap_or_else(|| panic!("no scenario {name}: picture, voice or lesson"));
    let paced = arguments.iter().any(|word| word == "paced");
    let mut pace = Pace::new(paced.then(|| scenario.frame()));

    let drain = Drain::start(subscribers);
    let socket = MediaSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    let mut bench = Bench::new(scenario, &drain.addresses);
    let mut floor = Floor::new(scenario, &drain.addresses);
    bench.connect(&socket);
    begin_counting();
    let (mut forward_ns, mut floor_ns) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        forward_ns.push(bench.block(&socket, &mut pace));
        floor_ns.push(floor.block(&socket, &mut pace));
    }
    let drained = drain.stop();
    let expected = rounds * FRAMES_PER_BLOCK * scenario.packets() * subscribers;
    let (forward_ns, floor_ns) = (median(&mut forward_ns), median(&mut floor_ns));
    eprintln!(
        "forwarded {} of {expected} packets, {} resent; {drained} datagrams received",
        bench.forwarded, bench.resent
    );
    assert_eq!(
        bench.forwarded as usize, expected,
        "every subscriber gets every packet"
    );
    println!(
        r#"{{"bench":"forward","scenario":"{name}","paced":{paced},"subscribers":{subscribers},"packets":{expected},"resent":{},"forward_ns":{forward_ns:.0},"floor_ns":{floor_ns:.0},"ratio":{:.3}}}"#,
        bench.resent,
        forward_ns / floor_ns
    );
}
