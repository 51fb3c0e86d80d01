//! Cache of immutable segment data: facet values as ordinals, and bitsets of the large ACL groups.
//! The writer fills it before a segment becomes visible; queries then read plain arrays.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use parking_lot::Mutex;
use tantivy::fastfield::AliveBitSet;
use tantivy::index::SegmentId;
use tantivy::{Segment, SegmentReader};

use crate::document::Facet;

pub(crate) const FACETS: usize = Facet::ALL.len();

/// Groups below this share of a segment (1/64) are not cached: reading their posting list costs no
/// more than a cache look-up.
const LARGE_GROUP_DIVISOR: usize = 64;

/// Cached data of all segments, and the facet values behind the ordinals.
#[derive(Debug, Default)]
pub(crate) struct SegmentCache {
    dictionary: Mutex<FacetDictionary>,
    segments: Mutex<HashMap<SegmentId, Arc<CachedSegment>>>,
}

/// Cached data of one segment.
#[derive(Debug, Default)]
pub(crate) struct CachedSegment {
    /// Ordinal of each document's value, by facet.
    values: [Vec<u32>; FACETS],
    groups: Mutex<HashMap<String, Arc<FixedBitSet>>>,
    /// Documents that are not deleted, with their number. The number identifies the state, as
    /// deletions only lower it.
    alive: Mutex<Option<(usize, Arc<FixedBitSet>)>>,
}

/// Ordinals of facet values, shared by all segments and never reassigned; 0 is the absent value.
#[derive(Debug)]
struct FacetDictionary {
    values: [Vec<String>; FACETS],
    ordinals: [HashMap<String, u32>; FACETS],
}

impl Default for FacetDictionary {
    fn default() -> Self {
        let absent = || HashMap::from([(String::new(), 0)]);
        Self {
            values: std::array::from_fn(|_| vec![String::new()]),
            ordinals: std::array::from_fn(|_| absent()),
        }
    }
}

impl SegmentCache {
    /// Loads a segment that is not cached yet.
    pub(crate) fn warm(&self, segment: &Segment) -> tantivy::Result<()> {
        if !self.segments.lock().contains_key(&segment.id()) {
            self.get(&SegmentReader::open(segment)?)?;
        }
        Ok(())
    }

    pub(crate) fn get(&self, segment: &SegmentReader) -> tantivy::Result<Arc<CachedSegment>> {
        if let Some(cached) = self.segments.lock().get(&segment.segment_id()) {
            return Ok(cached.clone());
        }
        let mut cached = CachedSegment::default();
        for facet in Facet::ALL {
            cached.values[facet as usize] = self.values(segment, facet)?;
        }
        let cached = Arc::new(cached);
        self.segments
            .lock()
            .insert(segment.segment_id(), cached.clone());
        Ok(cached)
    }

    /// Drops all other segments.
    pub(crate) fn retain(&self, segments: &HashSet<SegmentId>) {
        self.segments.lock().retain(|id, _| segments.contains(id));
    }

    /// Marks the ordinals of `values`; the result is indexed by ordinal.
    pub(crate) fn value_mask(&self, facet: Facet, values: &[String]) -> Vec<bool> {
        let dictionary = self.dictionary.lock();
        let mut mask = vec![false; dictionary.values[facet as usize].len()];
        let ordinals = values
            .iter()
            .filter_map(|value| dictionary.ordinals[facet as usize].get(value));
        ordinals.for_each(|ordinal| mask[*ordinal as usize] = true);
        mask
    }

    /// Zeroed counters for all values of cached segments.
    pub(crate) fn zero_counts(&self) -> [Vec<u32>; FACETS] {
        let dictionary = self.dictionary.lock();
        std::array::from_fn(|facet| vec![0; dictionary.values[facet].len()])
    }

    /// Most frequent values, at limit `limit` per facet. `counts` are indexed by facet and ordinal.
    pub(crate) fn top_values(
        &self,
        counts: &[Vec<u32>; FACETS],
        limit: usize,
    ) -> BTreeMap<Facet, Vec<(String, u32)>> {
        let dictionary = self.dictionary.lock();
        let top = Facet::ALL.into_iter().map(|facet| {
            let values = &dictionary.values[facet as usize];
            let counted = counts[facet as usize]
                .iter()
                .zip(values)
                .skip(1)
                .filter(|(count, _)| **count > 0);
            let mut counted: Vec<(&String, u32)> =
                counted.map(|(count, value)| (value, *count)).collect();
            let order =
                |a: &(&String, u32), b: &(&String, u32)| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0));
            if counted.len() > limit {
                counted.select_nth_unstable_by(limit, order);
                counted.truncate(limit);
            }
            counted.sort_unstable_by(order);
            (
                facet,
                counted
                    .into_iter()
                    .map(|(value, count)| (value.clone(), count))
                    .collect(),
            )
        });
        top.collect()
    }

    fn values(&self, segment: &SegmentReader, facet: Facet) -> tantivy::Result<Vec<u32>> {
        let Some(column) = segment.fast_fields().str(facet.name())? else {
            return Ok(vec![0; segment.max_doc() as usize]);
        };
        let mut values = Vec::with_capacity(column.num_terms());
        let mut stream = column.dictionary().stream()?;
        while stream.advance() {
            values.push(String::from_utf8_lossy(stream.key()).into_owned());
        }
        let mut dictionary = self.dictionary.lock();
        let ordinals: Vec<u32> = values
            .into_iter()
            .map(|value| dictionary.ordinal(facet, value))
            .collect();
        drop(dictionary);
        let value = |doc| {
            column
                .ords()
                .first(doc)
                .map_or(0, |ordinal| ordinals[ordinal as usize])
        };
        Ok((0..segment.max_doc()).map(value).collect())
    }
}

impl FacetDictionary {
    fn ordinal(&mut self, facet: Facet, value: String) -> u32 {
        let (values, ordinals) = (
            &mut self.values[facet as usize],
            &mut self.ordinals[facet as usize],
        );
        *ordinals.entry(value).or_insert_with_key(|value| {
            values.push(value.clone());
            values.len() as u32 - 1
        })
    }
}

impl CachedSegment {
    /// Ordinal of each document's value.
    pub(crate) fn ordinals(&self, facet: Facet) -> &[u32] {
        &self.values[facet as usize]
    }

    /// Bitset of the documents that are not deleted.
    pub(crate) fn alive_docs(&self, current: &AliveBitSet) -> Arc<FixedBitSet> {
        let mut cached = self.alive.lock();
        match &*cached {
            Some((count, docs)) if *count == current.num_alive_docs() => docs.clone(),
            _ => {
                let docs: Arc<FixedBitSet> =
                    Arc::new(current.iter_alive().map(|doc| doc as usize).collect());
                *cached = Some((current.num_alive_docs(), docs.clone()));
                docs
            }
        }
    }

    /// Adds the `size` documents of a group to `docs`; `read` adds them from the posting list.
    pub(crate) fn add_group(
        &self,
        group: &str,
        size: u32,
        docs: &mut FixedBitSet,
        read: impl FnOnce(&mut FixedBitSet) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        if (size as usize) * LARGE_GROUP_DIVISOR < docs.len() {
            return read(docs);
        }
        let cached = self.groups.lock().get(group).cloned();
        let group_docs = match cached {
            Some(cached) => cached,
            None => {
                let mut all = FixedBitSet::with_capacity(docs.len());
                read(&mut all)?;
                let all = Arc::new(all);
                self.groups.lock().insert(group.to_owned(), all.clone());
                all
            }
        };
        docs.union_with(&group_docs);
        Ok(())
    }
}
