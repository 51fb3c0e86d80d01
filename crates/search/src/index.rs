//! An index in one folder: a single writer, and any number of concurrent readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::collector::DocSetCollector;
use tantivy::query::TermQuery;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, IndexReader, ReloadPolicy, Searcher, TantivyDocument, Term};
use uuid::Uuid;

use crate::document::{Document, Key};
use crate::schema::{Fields, StoredDocument};
use crate::segment_cache::SegmentCache;

/// Error of the index.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Error of tantivy.
    #[error("the search index failed: {0}")]
    Index(#[from] tantivy::TantivyError),
    /// I/O error in the index folder.
    #[error("the folder of the search index cannot be used: {0}")]
    Folder(#[from] std::io::Error),
    /// Termination of the writer's thread.
    #[error("the search index's writer has stopped")]
    Stopped,
}

/// Result of an index operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Handle of an index. Clones share it.
#[derive(Clone)]
pub struct Index {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    pub(crate) fields: Fields,
    pub(crate) index: tantivy::Index,
    pub(crate) reader: IndexReader,
    pub(crate) cache: SegmentCache,
}

impl Index {
    /// Creates an empty index in an empty folder.
    pub fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let fields = Fields::new();
        let index = tantivy::Index::create_in_dir(folder, fields.schema.clone())?;
        Self::new(folder, fields, index)
    }

    /// Opens the index in a folder in the state of its last commit.
    pub fn open(folder: &Path) -> Result<Self> {
        let fields = Fields::new();
        let index = tantivy::Index::open_in_dir(folder)?;
        if index.schema() != fields.schema {
            return Err(tantivy::TantivyError::SchemaError("its fields are others".into()).into());
        }
        Self::new(folder, fields, index)
    }

    fn new(folder: &Path, fields: Fields, index: tantivy::Index) -> Result<Self> {
        Fields::register_tokenizers(&index);
        // The writer reloads the reader after each commit, so no file watcher is needed.
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        let inner = Inner {
            folder: folder.into(),
            fields,
            index,
            reader,
            cache: SegmentCache::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Folder of the index.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Number of documents in the last commit.
    pub fn document_count(&self) -> u64 {
        self.inner.reader.searcher().num_docs()
    }

    /// Returns the last committed version of a document, without access control.
    pub fn get(&self, key: &Key) -> Result<Option<Document>> {
        Ok(self
            .stored_documents(self.inner.fields.key_term(key))?
            .pop()
            .map(|stored| stored.document))
    }

    /// Keys of all documents whose author or school has this id, without access control.
    pub fn referencing(&self, id: Uuid) -> Result<Vec<Key>> {
        let found = self.stored_documents(Term::from_field_text(
            self.inner.fields.references,
            &id.to_string(),
        ))?;
        Ok(found.into_iter().map(|stored| stored.key).collect())
    }

    fn stored_documents(&self, term: Term) -> Result<Vec<StoredDocument>> {
        let searcher = self.inner.reader.searcher();
        let found = searcher.search(
            &TermQuery::new(term, IndexRecordOption::Basic),
            &DocSetCollector,
        )?;
        found
            .into_iter()
            .filter_map(|address| self.stored_document(&searcher, address).transpose())
            .collect()
    }

    pub(crate) fn stored_document(
        &self,
        searcher: &Searcher,
        address: DocAddress,
    ) -> Result<Option<StoredDocument>> {
        let stored: TantivyDocument = searcher.doc(address)?;
        Ok(self.inner.fields.decode(&stored))
    }

    /// Makes the last commit visible. New segments are loaded into the cache first, on the writer's thread,
    /// so that no query waits for that.
    pub(crate) fn reload(&self) -> Result<()> {
        let Inner {
            index,
            reader,
            cache,
            ..
        } = &*self.inner;
        for segment in index.searchable_segments()? {
            cache.warm(&segment)?;
        }
        reader.reload()?;
        cache.retain(
            &reader
                .searcher()
                .segment_readers()
                .iter()
                .map(|segment| segment.segment_id())
                .collect(),
        );
        Ok(())
    }
}
