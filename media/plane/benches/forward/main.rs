//! One publisher to N subscribers through real sockets, beside the floor: the same copies, seals and sends with nothing else.
//!
//! `cargo bench -p tongke-plane --bench forward -- [subscribers] [rounds] [scenario] [paced]`
//!
//! | scenario | what is sent |
//! |---|---|
//! | `picture` | frames of five packets, one layer |
//! | `voice` | one packet of 120 bytes every 20 ms: nothing that GSO could put together |
//! | `lesson` | three simulcast layers of which the best is watched, while it is recorded and every seventh subscriber asks for a packet again each tenth of a second; what the shard does with feedback, NACKs and reports counts as well |
//!
//! `paced` waits between frames as a camera does, which is how a live server meets its packets: the caches are others' by then. Without it
//! frames follow each other at once, as on a server that is full.
//!
//! Both sides run in turn inside one process, a block each, and the CPU time of this thread is what counts; receivers are drained by another
//! thread. The last line is JSON.

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

/// The id under which the transport-wide number travels.
pub use support::TWCC_ID;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Picture,
    Voice,
    Lesson,
}

impl Scenario {
    fn named(name: &str) -> Option<Scenario> {
        [Scenario::Picture, Scenario::Voice, Scenario::Lesson]
            .into_iter()
            .find(|scenario| scenario.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Scenario::Picture => "picture",
            Scenario::Voice => "voice",
            Scenario::Lesson => "lesson",
        }
    }

    pub fn codec(self) -> Codec {
        if self == Scenario::Voice {
            Codec::Opus
        } else {
            Codec::H264
        }
    }

    /// Packets of a frame on each layer, lowest first; the last one is watched.
    pub fn layers(self) -> &'static [usize] {
        match self {
            Scenario::Picture => &[5],
            Scenario::Voice => &[1],
            Scenario::Lesson => &[1, 2, 5],
        }
    }

    /// Packets of a frame that each subscriber gets.
    pub fn packets(self) -> usize {
        self.layers().last().copied().unwrap_or(0)
    }

    /// Bytes of payload: with header, extension and tag a datagram of 1200 bytes, or a voice with its copy at 32 kbit/s.
    pub fn payload(self) -> usize {
        if self == Scenario::Voice { 120 } else { 1_164 }
    }

    pub fn frame(self) -> Duration {
        Duration::from_millis(if self == Scenario::Voice { 20 } else { 33 })
    }
}

/// Frames in a row on one side before the other has its turn.
pub const FRAMES_PER_BLOCK: usize = 30;

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
    bench.settle(&socket);
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
        "forwarded {} of {expected} packets, {} sent again; receivers took {drained} datagrams in all",
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
