//! The thread that computes handshakes, so that a school that comes in at the bell takes no time from the pictures that flow already.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::Neighbour;
use crate::command::Command;
use crate::ids::PeerId;
use crate::index::ShardIx;
use crate::transport::HandshakeStep;

/// One step to be run for a peer of a shard.
pub struct Task {
    pub shard: ShardIx,
    pub peer: PeerId,
    pub step: Box<HandshakeStep>,
}

/// Starts the thread, which ends when nobody holds a sender any more. The queue has one task of each peer at most.
pub fn start(shards: Vec<Neighbour>) -> io::Result<(Sender<Task>, Arc<JoinHandle<()>>)> {
    let (sender, tasks) = channel();
    let thread = std::thread::Builder::new()
        .name("handshakes".into())
        .spawn(move || run(&tasks, &shards))?;
    Ok((sender, Arc::new(thread)))
}

fn run(tasks: &Receiver<Task>, shards: &[Neighbour]) {
    while let Ok(Task { shard, peer, step }) = tasks.recv() {
        shards[shard.position()].send_always(Command::Handshake {
            peer,
            progress: Box::new(step.run()),
        });
    }
}
