//! Filters, facet counts and selection of the top documents.
//!
//! A facet with a filter still counts its other values: a client that filters by 数学 sees how many
//! documents 语文 has. Therefore filters apply here and not while matching: a document that fails one
//! facet's filter is counted for that facet only.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use fixedbitset::FixedBitSet;
use tantivy::fastfield::Column;
use tantivy::{DocAddress, DocId, Result};

use crate::document::Facet;
use crate::schema::{CREATED, RATING, USES};
use crate::segment_cache::{FACETS, SegmentCache};
use crate::segment_view::SegmentView;

/// Order of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Highest score first; newest first without a query text.
    #[default]
    Relevance,
    /// Latest creation time first.
    Newest,
    /// Highest number of uses first.
    MostUsed,
    /// Highest mean rating first.
    BestRated,
}

/// Accepted values of each facet; a document needs one of them. An empty list accepts all.
pub type Filters = BTreeMap<Facet, Vec<String>>;

/// Number of documents by facet and value ordinal; [`SegmentCache`] maps ordinals to values.
pub(crate) type FacetCounts = [Vec<u32>; FACETS];

/// Removes documents that fail the filters from `found`, and counts facet values.
pub(crate) fn filter_and_count(
    views: &[SegmentView<'_>],
    found: &mut [FixedBitSet],
    filters: &Filters,
    cache: &SegmentCache,
) -> FacetCounts {
    let mut counts = cache.zero_counts();
    for (view, found) in views.iter().zip(found) {
        let chosen: Vec<(Facet, FixedBitSet)> = filters
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(facet, values)| (*facet, with_values(view, found, *facet, values, cache)))
            .collect();
        let all_but = |other: Option<Facet>| {
            let mut left = found.clone();
            let chosen = chosen.iter().filter(|(facet, _)| Some(*facet) != other);
            chosen.for_each(|(_, having)| left.intersect_with(having));
            left
        };
        let passing = all_but(None);
        let docs: Vec<usize> = passing.ones().collect();
        for facet in Facet::ALL {
            let counts = &mut counts[facet as usize];
            match chosen.iter().any(|(chosen, _)| *chosen == facet) {
                true => count(view, facet, all_but(Some(facet)).ones(), counts),
                false => count(view, facet, docs.iter().copied(), counts),
            }
        }
        *found = passing;
    }
    counts
}

/// Subset of `found` with one of the values.
fn with_values(
    view: &SegmentView<'_>,
    found: &FixedBitSet,
    facet: Facet,
    values: &[String],
    cache: &SegmentCache,
) -> FixedBitSet {
    let among = cache.value_mask(facet, values);
    let mut having = view.empty_set();
    let ordinals = view.cached.ordinals(facet);
    let docs = found.ones().filter(|doc| among[ordinals[*doc] as usize]);
    docs.for_each(|doc| having.insert(doc));
    having
}

fn count(
    view: &SegmentView<'_>,
    facet: Facet,
    docs: impl Iterator<Item = usize>,
    counts: &mut [u32],
) {
    let ordinals = view.cached.ordinals(facet);
    docs.for_each(|doc| counts[ordinals[doc] as usize] += 1);
}

/// Document with its sort key; of equal ones the earlier index entry comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RankedDoc {
    rank: f64,
    address: DocAddress,
}

impl Eq for RankedDoc {}

impl Ord for RankedDoc {
    /// Reversed: the maximum of the heap is the worst document, which is evicted first.
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .rank
            .total_cmp(&self.rank)
            .then_with(|| self.address.cmp(&other.address))
    }
}

impl PartialOrd for RankedDoc {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Selects the first `limit` documents by `rank`, a function of segment ordinal and document.
pub(crate) fn top_docs(
    found: &[FixedBitSet],
    limit: usize,
    mut rank: impl FnMut(usize, DocId) -> f64,
) -> Vec<DocAddress> {
    let mut best = BinaryHeap::with_capacity(limit.min(1024));
    for (ordinal, docs) in found.iter().enumerate() {
        for doc in docs.ones().map(|doc| doc as DocId) {
            let ranked = RankedDoc {
                rank: rank(ordinal, doc),
                address: DocAddress::new(ordinal as u32, doc),
            };
            if best.len() < limit {
                best.push(ranked);
            } else if let Some(mut worst) = best.peek_mut()
                && ranked < *worst
            {
                *worst = ranked;
            }
        }
    }
    best.into_sorted_vec()
        .into_iter()
        .map(|ranked| ranked.address)
        .collect()
}

/// Columns of a sort order other than relevance.
pub(crate) enum SortColumns {
    Time(Vec<Column<i64>>),
    Count(Vec<Column<u64>>),
    Mean(Vec<Column<f64>>),
}

impl SortColumns {
    /// Returns `None` for [`SortOrder::Relevance`], which has no column.
    pub(crate) fn by(order: SortOrder, views: &[SegmentView<'_>]) -> Result<Option<Self>> {
        let columns = || views.iter().map(|view| view.segment.fast_fields());
        Ok(Some(match order {
            SortOrder::Relevance => return Ok(None),
            SortOrder::Newest => Self::Time(
                columns()
                    .map(|columns| columns.i64(CREATED))
                    .collect::<Result<_>>()?,
            ),
            SortOrder::MostUsed => Self::Count(
                columns()
                    .map(|columns| columns.u64(USES))
                    .collect::<Result<_>>()?,
            ),
            SortOrder::BestRated => Self::Mean(
                columns()
                    .map(|columns| columns.f64(RATING))
                    .collect::<Result<_>>()?,
            ),
        }))
    }

    pub(crate) fn rank(&self, ordinal: usize, doc: DocId) -> f64 {
        match self {
            Self::Time(columns) => columns[ordinal].first(doc).unwrap_or_default() as f64,
            Self::Count(columns) => columns[ordinal].first(doc).unwrap_or_default() as f64,
            Self::Mean(columns) => columns[ordinal].first(doc).unwrap_or_default(),
        }
    }
}
