//! The writer: one thread of low priority, so that indexing never slows a lesson or a question.

use std::sync::mpsc;

use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{IndexWriter, TantivyDocument};

use crate::document::{Document, Key};
use crate::index::{Error, Index, Result};

/// Batches that wait while one is written: whoever brings the next one waits.
const WAITING: usize = 1;
/// How nice the thread is: it gives way to everything else, and still gets a few percent of a busy core.
const NICE: i32 = 15;
/// Segments of up to this many documents count as equals and are merged as soon as there are [`FEW`] of them. More, and every handful of changes
/// would be written again some ten times before it is part of a larger segment.
const SMALL: u32 = 500;
const FEW: usize = 6;
/// While the largest segments are merged, which takes many seconds, small ones must not pile up: every question looks into each.
const MERGES: usize = 2;
/// A segment with a larger share of deleted documents is written anew.
const DELETED: f32 = 0.3;

/// Something to be done to the index. Doing it twice is the same as once.
#[derive(Clone, Debug)]
pub enum Change {
    Put(Key, Box<Document>),
    Remove(Key),
}

/// Writes to one index. There is one per index at a time.
pub struct Writer {
    batches: mpsc::SyncSender<(Vec<Change>, mpsc::SyncSender<Result<()>>)>,
}

impl Writer {
    /// A writer that keeps at most `heap_bytes` of documents in memory before they go to disk (tantivy takes no less than 15 MB).
    pub fn start(index: &Index, heap_bytes: usize) -> Result<Self> {
        let (batches, received) = mpsc::sync_channel(WAITING);
        let index = index.clone();
        std::thread::Builder::new()
            .name("search-writer".into())
            .spawn(move || work(&index, heap_bytes, &received))?;
        Ok(Self { batches })
    }

    /// Makes the changes durable and visible, all or none; blocks until they are.
    pub fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let (done, answer) = mpsc::sync_channel(1);
        self.batches
            .send((changes, done))
            .map_err(|_| Error::Stopped)?;
        answer.recv().map_err(|_| Error::Stopped)?
    }
}

fn work(
    index: &Index,
    heap_bytes: usize,
    batches: &mpsc::Receiver<(Vec<Change>, mpsc::SyncSender<Result<()>>)>,
) {
    be_nice();
    let mut writer = None;
    while let Ok((changes, done)) = batches.recv() {
        let outcome = write(index, &mut writer, heap_bytes, changes);
        if outcome.is_err() {
            // A writer that failed is of no use any more; the next batch opens another, which begins at the last commit.
            writer = None;
        }
        // Nobody waits when the server is going down.
        let _ = done.send(outcome);
    }
}

/// Threads that tantivy starts from this one, for merging too, are as nice.
fn be_nice() {
    // SAFETY: the call takes numbers only; 0 is the calling thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } != 0 {
        tracing::warn!(
            "the search writer runs at full priority: {}",
            std::io::Error::last_os_error()
        );
    }
}

fn write(
    index: &Index,
    writer: &mut Option<IndexWriter>,
    heap_bytes: usize,
    changes: Vec<Change>,
) -> Result<()> {
    let fields = &index.inner.fields;
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(open(index, heap_bytes)?),
    };
    for change in changes {
        match change {
            Change::Remove(key) => {
                writer.delete_term(fields.key_term(&key));
            }
            Change::Put(key, document) => {
                writer.delete_term(fields.key_term(&key));
                writer.add_document(fields.lay_out(&key, &document))?;
            }
        }
    }
    writer.commit()?;
    index.reload()
}

fn open(index: &Index, heap_bytes: usize) -> Result<IndexWriter> {
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(MERGES)
        .memory_budget_per_thread(heap_bytes)
        .build();
    let writer: IndexWriter<TantivyDocument> = index.inner.index.writer_with_options(options)?;
    let mut policy = LogMergePolicy::default();
    policy.set_min_layer_size(SMALL);
    policy.set_min_num_segments(FEW);
    policy.set_del_docs_ratio_before_merge(DELETED);
    writer.set_merge_policy(Box::new(policy));
    Ok(writer)
}
