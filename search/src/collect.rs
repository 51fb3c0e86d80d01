//! One pass over all documents of a query: how many there are, the best of them, and how many each facet has.
//!
//! A facet that the list is narrowed by still counts its other values: whoever chose 数学 sees how many 语文 would give. So narrowing happens
//! here and not in the query: a document that fails one facet only counts for that one. Columns are read in blocks; the names behind their
//! numbers are kept per segment, which never changes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, ColumnValues};
use tantivy::index::SegmentId;
use tantivy::{DocAddress, DocId, Score, SegmentOrdinal, SegmentReader};

use crate::document::Facet;
use crate::schema::{CREATED, RATING, USES};

/// Documents whose columns are read at once.
const BLOCK: usize = 128;

const FACETS: usize = Facet::ALL.len();

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

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    pub total: usize,
    /// In order.
    pub best: Vec<DocAddress>,
    /// Facet by facet, by number; [`Names`] knows the words.
    counts: Vec<Vec<u32>>,
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
        other.rank.total_cmp(&self.rank).then_with(|| self.address.cmp(&other.address))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The words behind the numbers of all facets' columns.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Facet by facet; number 0 is the absent value.
    words: [Vec<String>; FACETS],
    numbers: [HashMap<String, u32>; FACETS],
    segments: HashMap<SegmentId, Arc<[Vec<u32>; FACETS]>>,
}

impl Names {
    /// The values that most documents have, `most` of each facet.
    pub fn counts(&self, found: &Found, most: usize) -> BTreeMap<Facet, Vec<(String, u32)>> {
        let known = self.known.lock();
        let mut named = BTreeMap::new();
        for (facet, counts) in Facet::ALL.into_iter().zip(&found.counts) {
            let words = &known.words[facet as usize];
            let counted = counts.iter().enumerate().skip(1).filter(|(_, count)| **count > 0);
            let mut counted: Vec<(&String, u32)> = counted.map(|(number, count)| (&words[number], *count)).collect();
            counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
            counted.truncate(most);
            named.insert(facet, counted.into_iter().map(|(word, count)| (word.clone(), count)).collect());
        }
        named
    }

    /// Forgets segments that are no more.
    pub fn keep(&self, segments: &HashSet<SegmentId>) {
        self.known.lock().segments.retain(|id, _| segments.contains(id));
    }

    fn of_segment(&self, segment: &SegmentReader) -> tantivy::Result<Arc<[Vec<u32>; FACETS]>> {
        if let Some(known) = self.known.lock().segments.get(&segment.segment_id()) {
            return Ok(known.clone());
        }
        let mut words: [Vec<String>; FACETS] = Default::default();
        for facet in Facet::ALL {
            words[facet as usize] = column_words(segment, facet)?;
        }
        let mut known = self.known.lock();
        let numbers =
            Arc::new(std::array::from_fn(|facet| words[facet].iter().map(|word| known.number(facet, word)).collect()));
        known.segments.insert(segment.segment_id(), Arc::clone(&numbers));
        Ok(numbers)
    }
}

impl Known {
    fn number(&mut self, facet: usize, word: &str) -> u32 {
        if self.words[facet].is_empty() {
            self.words[facet].push(String::new());
            self.numbers[facet].insert(String::new(), 0);
        }
        if let Some(number) = self.numbers[facet].get(word) {
            return *number;
        }
        let number = self.words[facet].len() as u32;
        self.words[facet].push(word.to_owned());
        self.numbers[facet].insert(word.to_owned(), number);
        number
    }
}

/// A column's values in the order of their numbers.
fn column_words(segment: &SegmentReader, facet: Facet) -> tantivy::Result<Vec<String>> {
    let Some(column) = segment.fast_fields().str(facet.name())? else { return Ok(Vec::new()) };
    let mut words = Vec::with_capacity(column.num_terms());
    let mut stream = column.dictionary().stream()?;
    while stream.advance() {
        words.push(String::from_utf8_lossy(stream.key()).into_owned());
    }
    Ok(words)
}

/// The pass.
pub struct Pass<'a> {
    pub names: &'a Names,
    pub narrowed: &'a Narrowed,
    pub order: Order,
    /// How many of the best are kept.
    pub most: usize,
}

impl Collector for Pass<'_> {
    type Fruit = Found;
    type Child = Segment;

    fn for_segment(&self, ordinal: SegmentOrdinal, reader: &SegmentReader) -> tantivy::Result<Segment> {
        let numbers = self.names.of_segment(reader)?;
        let mut columns = Vec::with_capacity(FACETS);
        for facet in Facet::ALL {
            let column = reader.fast_fields().str(facet.name())?;
            columns.push(column.map(|column| column.ords().values.clone()));
        }
        let allowed = self.narrowed.iter().filter(|(_, values)| !values.is_empty()).map(|(facet, values)| {
            let facet = *facet as usize;
            let wanted: HashSet<u32> = self.names.known.lock().wanted(facet, values);
            (facet, numbers[facet].iter().map(|number| wanted.contains(number)).collect())
        });
        Ok(Segment {
            ordinal,
            allowed: allowed.collect(),
            counts: numbers.iter().map(|numbers| vec![0; numbers.len()]).collect(),
            numbers,
            columns,
            rank: Rank::new(self.order, reader)?,
            most: self.most,
            best: BinaryHeap::new(),
            total: 0,
            block: Vec::with_capacity(BLOCK),
        })
    }

    fn requires_scoring(&self) -> bool {
        self.order == Order::Relevance
    }

    fn merge_fruits(&self, segments: Vec<Harvest>) -> tantivy::Result<Found> {
        let mut found = Found { counts: vec![Vec::new(); FACETS], ..Found::default() };
        let mut best = Vec::new();
        for harvest in segments {
            found.total += harvest.total;
            best.extend(harvest.best);
            for (sum, counts) in found.counts.iter_mut().zip(harvest.counts) {
                sum.resize(sum.len().max(counts.len()), 0);
                counts.iter().zip(sum).for_each(|(count, sum)| *sum += count);
            }
        }
        best.sort_unstable();
        best.truncate(self.most);
        found.best = best.into_iter().map(|ranked| ranked.address).collect();
        Ok(found)
    }
}

impl Known {
    fn wanted(&self, facet: usize, values: &[String]) -> HashSet<u32> {
        values.iter().filter_map(|value| self.numbers[facet].get(value)).copied().collect()
    }
}

/// What a document's place in the list follows from.
enum Rank {
    Score,
    Time(Column<i64>),
    Count(Column<u64>),
    Mean(Column<f64>),
}

impl Rank {
    fn new(order: Order, reader: &SegmentReader) -> tantivy::Result<Self> {
        let columns = reader.fast_fields();
        Ok(match order {
            Order::Relevance => Self::Score,
            Order::Newest => Self::Time(columns.i64(CREATED)?),
            Order::MostUsed => Self::Count(columns.u64(USES)?),
            Order::BestRated => Self::Mean(columns.f64(RATING)?),
        })
    }

    fn of(&self, doc: DocId, score: Score) -> f64 {
        match self {
            Self::Score => score.into(),
            Self::Time(column) => column.first(doc).unwrap_or_default() as f64,
            Self::Count(column) => column.first(doc).unwrap_or_default() as f64,
            Self::Mean(column) => column.first(doc).unwrap_or_default(),
        }
    }
}

/// What one segment gave.
pub struct Harvest {
    total: usize,
    best: Vec<Ranked>,
    counts: Vec<Vec<u32>>,
}

/// The pass over one segment.
pub struct Segment {
    ordinal: SegmentOrdinal,
    numbers: Arc<[Vec<u32>; FACETS]>,
    columns: Vec<Option<Arc<dyn ColumnValues<u64>>>>,
    /// Facets that the list is narrowed by, and which of the column's numbers pass.
    allowed: Vec<(usize, Vec<bool>)>,
    counts: Vec<Vec<u32>>,
    rank: Rank,
    most: usize,
    best: BinaryHeap<Ranked>,
    total: usize,
    /// Documents that pass and are not counted yet.
    block: Vec<DocId>,
}

impl Segment {
    /// The facets that a document fails: none, one, or (told as `Err`) more.
    fn failed(&self, doc: DocId) -> Result<Option<usize>, ()> {
        let mut failed = None;
        for (facet, allowed) in &self.allowed {
            let passes = self.value(*facet, doc).is_some_and(|value| allowed[value as usize]);
            if !passes && failed.replace(*facet).is_some() {
                return Err(());
            }
        }
        Ok(failed)
    }

    fn value(&self, facet: usize, doc: DocId) -> Option<u64> {
        self.columns[facet].as_ref().map(|column| column.get_val(doc))
    }

    fn count_block(&mut self) {
        let mut values = [0; BLOCK];
        let values = &mut values[..self.block.len()];
        for (column, counts) in self.columns.iter().zip(&mut self.counts) {
            let Some(column) = column else { continue };
            column.get_vals(&self.block, values);
            values.iter().for_each(|value| counts[*value as usize] += 1);
        }
        self.block.clear();
    }
}

impl SegmentCollector for Segment {
    type Fruit = Harvest;

    fn collect(&mut self, doc: DocId, score: Score) {
        match self.failed(doc) {
            Ok(None) => {}
            Ok(Some(facet)) => {
                if let Some(value) = self.value(facet, doc) {
                    self.counts[facet][value as usize] += 1;
                }
                return;
            }
            Err(()) => return,
        }
        self.total += 1;
        self.block.push(doc);
        if self.block.len() == BLOCK {
            self.count_block();
        }
        let ranked = Ranked { rank: self.rank.of(doc, score), address: DocAddress::new(self.ordinal, doc) };
        if self.best.len() < self.most {
            self.best.push(ranked);
        } else if let Some(mut worst) = self.best.peek_mut()
            && ranked < *worst
        {
            *worst = ranked;
        }
    }

    fn harvest(mut self) -> Harvest {
        self.count_block();
        let counts = self.counts.iter().zip(self.numbers.iter()).map(|(counts, numbers)| {
            let mut by_number = vec![0; numbers.iter().max().map_or(0, |most| *most as usize + 1)];
            counts.iter().zip(numbers).for_each(|(count, number)| by_number[*number as usize] += count);
            by_number
        });
        Harvest { total: self.total, counts: counts.collect(), best: self.best.into_vec() }
    }
}
