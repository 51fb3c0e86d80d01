//! One segment as one viewer sees it: the visible documents, and set operations on posting lists.
//! Sets are bitsets: a union over 100 000 documents reads twelve kilobytes.

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

use crate::schema::Fields;
use crate::search::Viewer;
use crate::segment_cache::{CachedSegment, SegmentCache};

/// Cost of seeking one document in a posting list, in postings read sequentially (measured: about
/// twenty). Sets smaller than 1/20 of a list are looked up by seeking, larger ones by reading the
/// list.
pub(crate) const SEEK_COST: usize = 20;

/// A segment restricted to the documents visible to one viewer.
pub(crate) struct SegmentView<'a> {
    pub segment: &'a SegmentReader,
    pub fields: &'a Fields,
    pub cached: Arc<CachedSegment>,
    /// Documents that the viewer may see. Every result is a subset.
    pub visible: FixedBitSet,
    /// Terms looked up so far: matching, clause ordering and scoring use the same ones.
    term_cache: RefCell<HashMap<Term, Option<PostingList>>>,
}

/// Handle of a posting list: the field's inverted index and the term's location in it.
type PostingList = (Arc<InvertedIndexReader>, TermInfo);

impl<'a> SegmentView<'a> {
    /// Creates the views of all segments.
    pub(crate) fn all(
        searcher: &'a Searcher,
        fields: &'a Fields,
        cache: &SegmentCache,
        viewer: Viewer<'_>,
    ) -> Result<Vec<Self>> {
        let segments = searcher.segment_readers().iter();
        segments
            .map(|segment| Self::new(segment, fields, cache.get(segment)?, viewer))
            .collect()
    }

    fn new(
        segment: &'a SegmentReader,
        fields: &'a Fields,
        cached: Arc<CachedSegment>,
        viewer: Viewer<'_>,
    ) -> Result<Self> {
        let mut view = Self {
            segment,
            fields,
            cached,
            visible: FixedBitSet::new(),
            term_cache: RefCell::default(),
        };
        let mut visible = view.empty_set();
        for group in viewer.groups {
            let group = group.term();
            let term = Term::from_field_text(fields.groups, &group);
            if let Some((index, info)) = view.posting_list(&term)? {
                let read = |docs: &mut FixedBitSet| add_postings(&index, &info, docs);
                view.cached
                    .add_group(&group, info.doc_freq, &mut visible, read)?;
            }
        }
        if let Some(alive) = segment.alive_bitset() {
            visible.intersect_with(&view.cached.alive_docs(alive));
        }
        for key in viewer.hidden {
            let mut hidden = view.empty_set();
            view.add_term(&fields.key_term(key), &mut hidden)?;
            visible.difference_with(&hidden);
        }
        view.visible = visible;
        Ok(view)
    }

    /// A bitset without documents.
    pub(crate) fn empty_set(&self) -> FixedBitSet {
        FixedBitSet::with_capacity(self.segment.max_doc() as usize)
    }

    pub(crate) fn posting_list(&self, term: &Term) -> Result<Option<PostingList>> {
        if let Some(list) = self.term_cache.borrow().get(term) {
            return Ok(list.clone());
        }
        let index = self.segment.inverted_index(term.field())?;
        let list = index.get_term_info(term)?.map(|info| (index, info));
        self.term_cache
            .borrow_mut()
            .insert(term.clone(), list.clone());
        Ok(list)
    }

    /// Number of documents with the term, deleted ones included.
    pub(crate) fn doc_freq(&self, term: &Term) -> Result<u32> {
        Ok(self
            .posting_list(term)?
            .map_or(0, |(_, info)| info.doc_freq))
    }

    /// Adds the documents with the term.
    pub(crate) fn add_term(&self, term: &Term, docs: &mut FixedBitSet) -> Result<()> {
        match self.posting_list(term)? {
            Some((index, info)) => add_postings(&index, &info, docs),
            None => Ok(()),
        }
    }

    /// Removes the documents without the term.
    pub(crate) fn retain_term(&self, term: &Term, docs: &mut FixedBitSet) -> Result<()> {
        let Some((index, info)) = self.posting_list(term)? else {
            docs.clear();
            return Ok(());
        };
        if docs.count_ones(..) * SEEK_COST >= info.doc_freq as usize {
            let mut all = self.empty_set();
            add_postings(&index, &info, &mut all)?;
            docs.intersect_with(&all);
            return Ok(());
        }
        let mut postings = index.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
        let candidates: Vec<usize> = docs.ones().collect();
        for doc in candidates {
            if seek(&mut postings, doc as DocId) != doc as DocId {
                docs.remove(doc);
            }
        }
        Ok(())
    }

    /// Adds the documents with a term that starts with `prefix`.
    pub(crate) fn add_prefix(
        &self,
        field: Field,
        prefix: &str,
        docs: &mut FixedBitSet,
    ) -> Result<()> {
        let index = self.segment.inverted_index(field)?;
        // 0xFF occurs in no UTF-8 text, so it sorts after every continuation of the prefix.
        let beyond = [prefix.as_bytes(), &[0xFF]].concat();
        let mut stream = index.terms().range().ge(prefix).lt(beyond).into_stream()?;
        while stream.advance() {
            add_postings(&index, stream.value(), docs)?;
        }
        Ok(())
    }

    /// Adds the matches of a tantivy query.
    pub(crate) fn add_query(&self, query: &dyn Query, docs: &mut FixedBitSet) -> Result<()> {
        let mut scorer = query
            .weight(self.scoring_disabled())?
            .scorer(self.segment, 1.0)?;
        while scorer.doc() != TERMINATED {
            docs.insert(scorer.doc() as usize);
            scorer.advance();
        }
        Ok(())
    }

    pub(crate) fn scoring_disabled(&self) -> EnableScoring<'_> {
        EnableScoring::disabled_from_schema(&self.fields.schema)
    }
}

/// Advances to the first document at or after `doc`.
pub(crate) fn seek(postings: &mut impl DocSet, doc: DocId) -> DocId {
    if postings.doc() < doc {
        postings.seek(doc)
    } else {
        postings.doc()
    }
}

fn add_postings(
    index: &InvertedIndexReader,
    info: &TermInfo,
    docs: &mut FixedBitSet,
) -> Result<()> {
    let postings = index.read_block_postings_from_terminfo(info, IndexRecordOption::Basic)?;
    for_each_block(postings, |docs_of_block, _| {
        docs_of_block
            .iter()
            .for_each(|doc| docs.insert(*doc as usize))
    });
    Ok(())
}

/// Calls `read` with the documents and term frequencies of a posting list, block by block.
pub(crate) fn for_each_block(
    mut postings: BlockSegmentPostings,
    mut read: impl FnMut(&[DocId], &[u32]),
) {
    while postings.block_len() > 0 {
        read(postings.docs(), postings.freqs());
        postings.advance();
    }
}
