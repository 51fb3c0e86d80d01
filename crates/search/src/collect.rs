//! From the documents that were found to a page of results: how many there are, how many each facet has, and the best of them.
//!
//! A facet that the list is narrowed by still counts its other values: whoever chose 数学 sees how many 语文 would give. So narrowing happens
//! here and not while matching: a document that fails one facet only counts for that one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use fixedbitset::FixedBitSet;
use tantivy::fastfield::Column;
use tantivy::{DocAddress, DocId, Result};

use crate::document::Facet;
use crate::facts::{FACETS, Library};
use crate::ground::Ground;
use crate::schema::{CREATED, RATING, USES};

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Relevance,
    Newest,
    MostUsed,
    BestRated,
}

/// Values by which a list is narrowed: one of each facet's.
pub type Narrowed = BTreeMap<Facet, Vec<String>>;

/// How many documents each facet's values have, by number; [`Library`] knows the words.
pub type Counts = [Vec<u32>; FACETS];

/// Takes from `found` what fails `narrowed`, and counts.
pub fn narrow(
    grounds: &[Ground<'_>],
    found: &mut [FixedBitSet],
    narrowed: &Narrowed,
    library: &Library,
) -> Counts {
    let mut counts = library.no_counts();
    for (ground, found) in grounds.iter().zip(found) {
        let chosen: Vec<(Facet, FixedBitSet)> = narrowed
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(facet, values)| (*facet, having(ground, found, *facet, values, library)))
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
                true => count(ground, facet, all_but(Some(facet)).ones(), counts),
                false => count(ground, facet, docs.iter().copied(), counts),
            }
        }
        *found = passing;
    }
    counts
}

/// Those of `found` that have one of the values.
fn having(
    ground: &Ground<'_>,
    found: &FixedBitSet,
    facet: Facet,
    values: &[String],
    library: &Library,
) -> FixedBitSet {
    let among = library.are_among(facet, values);
    let mut having = ground.none();
    let numbered = ground.facts.values(facet);
    let docs = found.ones().filter(|doc| among[numbered[*doc] as usize]);
    docs.for_each(|doc| having.insert(doc));
    having
}

fn count(ground: &Ground<'_>, facet: Facet, docs: impl Iterator<Item = usize>, counts: &mut [u32]) {
    let numbered = ground.facts.values(facet);
    docs.for_each(|doc| counts[numbered[doc] as usize] += 1);
}

/// A document in the order that was asked for; of two equals the older entry of the index comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ranked {
    rank: f64,
    address: DocAddress,
}

impl Eq for Ranked {}

impl Ord for Ranked {
    /// The worse, the greater: the heap's top is the one to go.
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .rank
            .total_cmp(&self.rank)
            .then_with(|| self.address.cmp(&other.address))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `most` documents that come first by `rank`, which takes a segment's number and a document of it.
pub fn best(
    found: &[FixedBitSet],
    most: usize,
    mut rank: impl FnMut(usize, DocId) -> f64,
) -> Vec<DocAddress> {
    let mut best = BinaryHeap::with_capacity(most.min(1024));
    for (ordinal, docs) in found.iter().enumerate() {
        for doc in docs.ones().map(|doc| doc as DocId) {
            let ranked = Ranked {
                rank: rank(ordinal, doc),
                address: DocAddress::new(ordinal as u32, doc),
            };
            if best.len() < most {
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

/// What a list follows from that is not ordered by relevance.
pub enum Sorted {
    Time(Vec<Column<i64>>),
    Count(Vec<Column<u64>>),
    Mean(Vec<Column<f64>>),
}

impl Sorted {
    /// `None` for [`Order::Relevance`], which no column has.
    pub fn by(order: Order, grounds: &[Ground<'_>]) -> Result<Option<Self>> {
        let columns = || grounds.iter().map(|ground| ground.segment.fast_fields());
        Ok(Some(match order {
            Order::Relevance => return Ok(None),
            Order::Newest => Self::Time(
                columns()
                    .map(|columns| columns.i64(CREATED))
                    .collect::<Result<_>>()?,
            ),
            Order::MostUsed => Self::Count(
                columns()
                    .map(|columns| columns.u64(USES))
                    .collect::<Result<_>>()?,
            ),
            Order::BestRated => Self::Mean(
                columns()
                    .map(|columns| columns.f64(RATING))
                    .collect::<Result<_>>()?,
            ),
        }))
    }

    pub fn rank(&self, ordinal: usize, doc: DocId) -> f64 {
        match self {
            Self::Time(columns) => columns[ordinal].first(doc).unwrap_or_default() as f64,
            Self::Count(columns) => columns[ordinal].first(doc).unwrap_or_default() as f64,
            Self::Mean(columns) => columns[ordinal].first(doc).unwrap_or_default(),
        }
    }
}
