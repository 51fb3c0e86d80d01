//! One segment as one question sees it: which of its documents the reader may see, and which have an entry of the index. Sets of documents are
//! bitsets: adding one of 100 000 takes as long as reading twelve kilobytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::query::{EnableScoring, Query};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{
    DocId, DocSet, InvertedIndexReader, Result, Searcher, SegmentReader, TERMINATED, Term,
};

use crate::facts::{Facts, Library};
use crate::find::Reader;
use crate::schema::Fields;

/// A set with fewer than one of so many of an entry's documents is looked up in it, document by document; reading the entry whole is cheaper
/// above that (measured: a look-up costs as much as reading about twenty).
pub const SPARSE: usize = 20;

/// One segment, to one reader.
pub struct Ground<'a> {
    pub segment: &'a SegmentReader,
    pub fields: &'a Fields,
    pub facts: Arc<Facts>,
    /// What the reader may see. Whatever is answered is a part of it.
    pub seen: FixedBitSet,
    /// Entries that this question asked for already: matching, and its order, and the scores come back to the same ones.
    known: RefCell<HashMap<Term, Option<Entry>>>,
}

/// An entry of one segment, and whose it is.
type Entry = (Arc<InvertedIndexReader>, TermInfo);

impl<'a> Ground<'a> {
    /// All segments.
    pub fn all(
        searcher: &'a Searcher,
        fields: &'a Fields,
        library: &Library,
        reader: Reader<'_>,
    ) -> Result<Vec<Self>> {
        let segments = searcher.segment_readers().iter();
        segments
            .map(|segment| Self::new(segment, fields, library.facts(segment)?, reader))
            .collect()
    }

    fn new(
        segment: &'a SegmentReader,
        fields: &'a Fields,
        facts: Arc<Facts>,
        reader: Reader<'_>,
    ) -> Result<Self> {
        let mut ground = Self {
            segment,
            fields,
            facts,
            seen: FixedBitSet::new(),
            known: RefCell::default(),
        };
        let mut seen = ground.none();
        for circle in reader.circles {
            let word = circle.word();
            let term = Term::from_field_text(fields.circles, &word);
            if let Some((entries, info)) = ground.entry(&term)? {
                let read = |docs: &mut FixedBitSet| add_all(&entries, &info, docs);
                ground
                    .facts
                    .add_circle(&word, info.doc_freq, &mut seen, read)?;
            }
        }
        if let Some(alive) = segment.alive_bitset() {
            seen.intersect_with(&ground.facts.alive(alive));
        }
        for key in reader.hidden {
            let mut hidden = ground.none();
            ground.add(&fields.key_term(key), &mut hidden)?;
            seen.difference_with(&hidden);
        }
        ground.seen = seen;
        Ok(ground)
    }

    /// A set without documents.
    pub fn none(&self) -> FixedBitSet {
        FixedBitSet::with_capacity(self.segment.max_doc() as usize)
    }

    pub fn entry(&self, term: &Term) -> Result<Option<Entry>> {
        if let Some(entry) = self.known.borrow().get(term) {
            return Ok(entry.clone());
        }
        let entries = self.segment.inverted_index(term.field())?;
        let entry = entries.get_term_info(term)?.map(|info| (entries, info));
        self.known.borrow_mut().insert(term.clone(), entry.clone());
        Ok(entry)
    }

    /// How many documents have the entry, deleted ones among them.
    pub fn frequency(&self, term: &Term) -> Result<u32> {
        Ok(self.entry(term)?.map_or(0, |(_, info)| info.doc_freq))
    }

    /// Adds the documents that have the entry.
    pub fn add(&self, term: &Term, docs: &mut FixedBitSet) -> Result<()> {
        match self.entry(term)? {
            Some((entries, info)) => add_all(&entries, &info, docs),
            None => Ok(()),
        }
    }

    /// Leaves those documents that have the entry.
    pub fn keep(&self, term: &Term, docs: &mut FixedBitSet) -> Result<()> {
        let Some((entries, info)) = self.entry(term)? else {
            docs.clear();
            return Ok(());
        };
        if docs.count_ones(..) * SPARSE >= info.doc_freq as usize {
            let mut all = self.none();
            add_all(&entries, &info, &mut all)?;
            docs.intersect_with(&all);
            return Ok(());
        }
        let mut postings = entries.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
        let candidates: Vec<usize> = docs.ones().collect();
        for doc in candidates {
            if seek(&mut postings, doc as DocId) != doc as DocId {
                docs.remove(doc);
            }
        }
        Ok(())
    }

    /// Adds the documents that have an entry beginning with `text`.
    pub fn add_begun(&self, field: Field, text: &str, docs: &mut FixedBitSet) -> Result<()> {
        let entries = self.segment.inverted_index(field)?;
        // 0xFF is no byte of a text: it comes after whatever `text` goes on with.
        let beyond = [text.as_bytes(), &[0xFF]].concat();
        let mut stream = entries.terms().range().ge(text).lt(beyond).into_stream()?;
        while stream.advance() {
            add_all(&entries, stream.value(), docs)?;
        }
        Ok(())
    }

    /// Adds what tantivy's own query finds.
    pub fn add_query(&self, query: &dyn Query, docs: &mut FixedBitSet) -> Result<()> {
        let mut scorer = query.weight(self.unscored())?.scorer(self.segment, 1.0)?;
        while scorer.doc() != TERMINATED {
            docs.insert(scorer.doc() as usize);
            scorer.advance();
        }
        Ok(())
    }

    pub fn unscored(&self) -> EnableScoring<'_> {
        EnableScoring::disabled_from_schema(&self.fields.schema)
    }
}

/// The first document of an entry that is not before `doc`.
pub fn seek(postings: &mut impl DocSet, doc: DocId) -> DocId {
    if postings.doc() < doc {
        postings.seek(doc)
    } else {
        postings.doc()
    }
}

fn add_all(entries: &InvertedIndexReader, info: &TermInfo, docs: &mut FixedBitSet) -> Result<()> {
    let postings = entries.read_block_postings_from_terminfo(info, IndexRecordOption::Basic)?;
    each_block(postings, |some, _| {
        some.iter().for_each(|doc| docs.insert(*doc as usize))
    });
    Ok(())
}

/// All documents of an entry with how often each has it, a block at a time.
pub fn each_block(mut postings: BlockSegmentPostings, mut take: impl FnMut(&[DocId], &[u32])) {
    while postings.block_len() > 0 {
        take(postings.docs(), postings.freqs());
        postings.advance();
    }
}
