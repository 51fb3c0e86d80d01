//! Handshake thread: runs the cryptography of all handshakes, so that a school that joins does not
//! delay forwarding.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::ShardInbox;
use crate::command::Command;
use crate::ids::PeerId;
use crate::index::ShardIx;
use crate::transport::HandshakeStep;

/// A handshake step of a peer.
pub(super) struct Task {
    pub(super) shard: ShardIx,
    pub(super) peer: PeerId,
    pub(super) step: Box<HandshakeStep>,
}

/// Starts the thread. It ends when the last sender is dropped. The queue contains at most one task
/// per peer.
pub(super) fn start(shards: Vec<ShardInbox>) -> io::Result<(Sender<Task>, Arc<JoinHandle<()>>)> {
    let (sender, tasks) = channel();
    let thread = std::thread::Builder::new()
        .name("handshakes".into())
        .spawn(move || run(&tasks, &shards))?;
    Ok((sender, Arc::new(thread)))
}

fn run(tasks: &Receiver<Task>, shards: &[ShardInbox]) {
    while let Ok(Task { shard, peer, step }) = tasks.recv() {
        shards[shard.position()].send_blocking(Command::Handshake {
            peer,
            progress: Box::new(step.run()),
        });
    }
}
