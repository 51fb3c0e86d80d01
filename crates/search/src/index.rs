//! One index in one folder: a writer fills it, and any number of readers ask it at the same time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::collector::DocSetCollector;
use tantivy::query::TermQuery;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, IndexReader, ReloadPolicy, Searcher, TantivyDocument, Term};
use uuid::Uuid;

use crate::document::{Document, Key};
use crate::facts::Library;
use crate::schema::{Card, Fields};

/// Why the index could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the search index failed: {0}")]
    Index(#[from] tantivy::TantivyError),
    #[error("the folder of the search index cannot be used: {0}")]
    Folder(#[from] std::io::Error),
    #[error("the search index's writer has stopped")]
    Stopped,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An index. Cloning shares it.
#[derive(Clone)]
pub struct Index {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub folder: PathBuf,
    pub fields: Fields,
    pub index: tantivy::Index,
    pub reader: IndexReader,
    pub library: Library,
}

impl Index {
    /// An empty index in an empty folder.
    pub fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let fields = Fields::new();
        let index = tantivy::Index::create_in_dir(folder, fields.schema.clone())?;
        Self::new(folder, fields, index)
    }

    /// The index in a folder, as its last commit left it.
    pub fn open(folder: &Path) -> Result<Self> {
        let fields = Fields::new();
        let index = tantivy::Index::open_in_dir(folder)?;
        if index.schema() != fields.schema {
            return Err(tantivy::TantivyError::SchemaError("its fields are others".into()).into());
        }
        Self::new(folder, fields, index)
    }

    fn new(folder: &Path, fields: Fields, index: tantivy::Index) -> Result<Self> {
        Fields::register(&index);
        // The writer reloads the reader when it has committed; nothing has to watch the folder.
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        let inner = Inner {
            folder: folder.into(),
            fields,
            index,
            reader,
            library: Library::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// How many documents can be found.
    pub fn documents(&self) -> u64 {
        self.inner.reader.searcher().num_docs()
    }

    /// The document as it was last committed.
    pub fn get(&self, key: &Key) -> Result<Option<Document>> {
        Ok(self
            .cards(self.inner.fields.key_term(key))?
            .pop()
            .map(|card| card.document))
    }

    /// Whatever names the author or school with that id.
    pub fn mentioning(&self, id: Uuid) -> Result<Vec<Key>> {
        let cards = self.cards(Term::from_field_text(
            self.inner.fields.mentions,
            &id.to_string(),
        ))?;
        Ok(cards.into_iter().map(|card| card.key).collect())
    }

    fn cards(&self, term: Term) -> Result<Vec<Card>> {
        let searcher = self.inner.reader.searcher();
        let found = searcher.search(
            &TermQuery::new(term, IndexRecordOption::Basic),
            &DocSetCollector,
        )?;
        found
            .into_iter()
            .filter_map(|address| self.card(&searcher, address).transpose())
            .collect()
    }

    pub(crate) fn card(&self, searcher: &Searcher, address: DocAddress) -> Result<Option<Card>> {
        let stored: TantivyDocument = searcher.doc(address)?;
        Ok(self.inner.fields.card(&stored))
    }

    /// Makes the last commit visible. What has to be learnt of new segments is learnt before, in the writer's thread, so that no question waits for it.
    pub(crate) fn reload(&self) -> Result<()> {
        let Inner {
            index,
            reader,
            library,
            ..
        } = &*self.inner;
        for segment in index.searchable_segments()? {
            library.learn(&segment)?;
        }
        reader.reload()?;
        library.keep(
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
