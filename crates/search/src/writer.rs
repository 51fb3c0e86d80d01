//! The index writer: one low-priority thread, so that indexing slows neither lessons nor queries.

use std::sync::mpsc;

use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{IndexWriter, TantivyDocument};

use crate::document::{Document, Key};
use crate::index::{Error, Index, Result};

/// Batches queued while one is written; a further caller blocks.
const QUEUED_BATCHES: usize = 1;
/// Niceness (setpriority(2)) of the thread: it yields to everything else and still gets a few percent of a busy core.
const NICENESS: i32 = 15;
/// Segments of up to this many documents form the lowest merge layer, merged once it has [`MIN_MERGED_SEGMENTS`] of them.
/// With more segments per merge, each small change would be rewritten some ten times before it reaches a large segment.
const MIN_LAYER_DOCS: u32 = 500;
const MIN_MERGED_SEGMENTS: usize = 6;
/// Merge threads. A merge of the largest segments takes many seconds; meanwhile the second thread keeps the number
/// of small segments low, as every query visits each of them.
const MERGE_THREADS: usize = 2;
/// A segment with a larger share of deleted documents is rewritten.
const MAX_DELETED_RATIO: f32 = 0.3;

/// A change of the index. Changes are idempotent.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds or replaces a document.
    Put(Key, Box<Document>),
    /// Removes a document, if it is there.
    Remove(Key),
}

/// Writer of an index. Each index has one writer at a time.
pub struct Writer {
    batches: mpsc::SyncSender<(Vec<Change>, mpsc::SyncSender<Result<()>>)>,
}

impl Writer {
    /// Starts a writer that buffers at most `heap_bytes` of documents in memory (tantivy requires at least 15 MB).
    pub fn start(index: &Index, heap_bytes: usize) -> Result<Self> {
        let (batches, received) = mpsc::sync_channel(QUEUED_BATCHES);
        let index = index.clone();
        std::thread::Builder::new()
            .name("search-writer".into())
            .spawn(move || run(&index, heap_bytes, &received))?;
        Ok(Self { batches })
    }

    /// Commits the changes atomically and makes them visible; blocks until then.
    pub fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let (done, answer) = mpsc::sync_channel(1);
        self.batches
            .send((changes, done))
            .map_err(|_| Error::Stopped)?;
        answer.recv().map_err(|_| Error::Stopped)?
    }
}

fn run(
    index: &Index,
    heap_bytes: usize,
    batches: &mpsc::Receiver<(Vec<Change>, mpsc::SyncSender<Result<()>>)>,
) {
    lower_priority();
    let mut writer = None;
    while let Ok((changes, done)) = batches.recv() {
        let outcome = write(index, &mut writer, heap_bytes, changes);
        if outcome.is_err() {
            // tantivy's writer is unusable after an error; the next batch opens one at the last commit.
            writer = None;
        }
        // The caller is gone while the server shuts down.
        let _ = done.send(outcome);
    }
}

/// Lowers the priority of this thread; the threads that tantivy starts from it inherit it.
fn lower_priority() {
    // SAFETY: the call takes numbers only; 0 is the calling thread on Linux.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) } != 0 {
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
                writer.add_document(fields.to_tantivy(&key, &document))?;
            }
        }
    }
    writer.commit()?;
    index.reload()
}

fn open(index: &Index, heap_bytes: usize) -> Result<IndexWriter> {
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(MERGE_THREADS)
        .memory_budget_per_thread(heap_bytes)
        .build();
    let writer: IndexWriter<TantivyDocument> = index.inner.index.writer_with_options(options)?;
    let mut policy = LogMergePolicy::default();
    policy.set_min_layer_size(MIN_LAYER_DOCS);
    policy.set_min_num_segments(MIN_MERGED_SEGMENTS);
    policy.set_del_docs_ratio_before_merge(MAX_DELETED_RATIO);
    writer.set_merge_policy(Box::new(policy));
    Ok(writer)
}
