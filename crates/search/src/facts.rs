//! What is known of a segment and never changes: its facets' values as numbers, and who is in its great circles. Learnt once, before questions
//! meet the segment; they then read plain arrays.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use parking_lot::Mutex;
use tantivy::fastfield::AliveBitSet;
use tantivy::index::SegmentId;
use tantivy::{Segment, SegmentReader};

use crate::document::Facet;

pub const FACETS: usize = Facet::ALL.len();

/// A circle with less than one of so many documents is read anew by every question, which costs as much as asking for it here.
const GREAT: u32 = 64;

/// The facts of all segments, and the words behind their numbers.
#[derive(Debug, Default)]
pub struct Library {
    names: Mutex<Names>,
    segments: Mutex<HashMap<SegmentId, Arc<Facts>>>,
}

/// The facts of one segment.
#[derive(Debug, Default)]
pub struct Facts {
    /// Facet by facet, the number of each document's value.
    values: [Vec<u32>; FACETS],
    circles: Mutex<HashMap<String, Arc<FixedBitSet>>>,
    /// The documents that are not deleted, and how many these are: fewer with every change, never the same number again.
    alive: Mutex<Option<(usize, Arc<FixedBitSet>)>>,
}

/// Numbers for words, the same in all segments; 0 is the absent value. A number once given stays.
#[derive(Debug)]
struct Names {
    words: [Vec<String>; FACETS],
    numbers: [HashMap<String, u32>; FACETS],
}

impl Default for Names {
    fn default() -> Self {
        let absent = || HashMap::from([(String::new(), 0)]);
        Self {
            words: std::array::from_fn(|_| vec![String::new()]),
            numbers: std::array::from_fn(|_| absent()),
        }
    }
}

impl Library {
    /// Learns a segment that no question has met yet.
    pub fn learn(&self, segment: &Segment) -> tantivy::Result<()> {
        if !self.segments.lock().contains_key(&segment.id()) {
            self.facts(&SegmentReader::open(segment)?)?;
        }
        Ok(())
    }

    pub fn facts(&self, segment: &SegmentReader) -> tantivy::Result<Arc<Facts>> {
        if let Some(facts) = self.segments.lock().get(&segment.segment_id()) {
            return Ok(facts.clone());
        }
        let mut facts = Facts::default();
        for facet in Facet::ALL {
            facts.values[facet as usize] = self.values(segment, facet)?;
        }
        let facts = Arc::new(facts);
        self.segments
            .lock()
            .insert(segment.segment_id(), facts.clone());
        Ok(facts)
    }

    /// Forgets segments that are no more.
    pub fn keep(&self, segments: &HashSet<SegmentId>) {
        self.segments.lock().retain(|id, _| segments.contains(id));
    }

    /// Whether a number is that of one of a facet's values, number by number.
    pub fn are_among(&self, facet: Facet, values: &[String]) -> Vec<bool> {
        let names = self.names.lock();
        let mut among = vec![false; names.words[facet as usize].len()];
        let numbers = values
            .iter()
            .filter_map(|value| names.numbers[facet as usize].get(value));
        numbers.for_each(|number| among[*number as usize] = true);
        among
    }

    /// A count of nothing for every value that any document ever had. A segment that is already known has no others.
    pub fn no_counts(&self) -> [Vec<u32>; FACETS] {
        let names = self.names.lock();
        std::array::from_fn(|facet| vec![0; names.words[facet].len()])
    }

    /// The values that most documents have, `most` of each facet. `counts` are by facet and number.
    pub fn named(
        &self,
        counts: &[Vec<u32>; FACETS],
        most: usize,
    ) -> BTreeMap<Facet, Vec<(String, u32)>> {
        let names = self.names.lock();
        let named = Facet::ALL.into_iter().map(|facet| {
            let words = &names.words[facet as usize];
            let counted = counts[facet as usize]
                .iter()
                .zip(words)
                .skip(1)
                .filter(|(count, _)| **count > 0);
            let mut counted: Vec<(&String, u32)> =
                counted.map(|(count, word)| (word, *count)).collect();
            let order =
                |a: &(&String, u32), b: &(&String, u32)| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0));
            if counted.len() > most {
                counted.select_nth_unstable_by(most, order);
                counted.truncate(most);
            }
            counted.sort_unstable_by(order);
            (
                facet,
                counted
                    .into_iter()
                    .map(|(word, count)| (word.clone(), count))
                    .collect(),
            )
        });
        named.collect()
    }

    fn values(&self, segment: &SegmentReader, facet: Facet) -> tantivy::Result<Vec<u32>> {
        let Some(column) = segment.fast_fields().str(facet.name())? else {
            return Ok(vec![0; segment.max_doc() as usize]);
        };
        let mut words = Vec::with_capacity(column.num_terms());
        let mut stream = column.dictionary().stream()?;
        while stream.advance() {
            words.push(String::from_utf8_lossy(stream.key()).into_owned());
        }
        let mut names = self.names.lock();
        let numbers: Vec<u32> = words
            .into_iter()
            .map(|word| names.number(facet, word))
            .collect();
        drop(names);
        let value = |doc| {
            column
                .ords()
                .first(doc)
                .map_or(0, |ordinal| numbers[ordinal as usize])
        };
        Ok((0..segment.max_doc()).map(value).collect())
    }
}

impl Names {
    fn number(&mut self, facet: Facet, word: String) -> u32 {
        let (words, numbers) = (
            &mut self.words[facet as usize],
            &mut self.numbers[facet as usize],
        );
        *numbers.entry(word).or_insert_with_key(|word| {
            words.push(word.clone());
            words.len() as u32 - 1
        })
    }
}

impl Facts {
    /// The number of each document's value.
    pub fn values(&self, facet: Facet) -> &[u32] {
        &self.values[facet as usize]
    }

    /// The documents that are not deleted.
    pub fn alive(&self, now: &AliveBitSet) -> Arc<FixedBitSet> {
        let mut known = self.alive.lock();
        match &*known {
            Some((count, docs)) if *count == now.num_alive_docs() => docs.clone(),
            _ => {
                let docs: Arc<FixedBitSet> =
                    Arc::new(now.iter_alive().map(|doc| doc as usize).collect());
                *known = Some((now.num_alive_docs(), docs.clone()));
                docs
            }
        }
    }

    /// Adds a circle of `size` documents to `docs`; `read` adds those that the index has.
    pub fn add_circle(
        &self,
        circle: &str,
        size: u32,
        docs: &mut FixedBitSet,
        read: impl FnOnce(&mut FixedBitSet) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        if (size as usize) * (GREAT as usize) < docs.len() {
            return read(docs);
        }
        let known = self.circles.lock().get(circle).cloned();
        let circle_docs = match known {
            Some(known) => known,
            None => {
                let mut all = FixedBitSet::with_capacity(docs.len());
                read(&mut all)?;
                let all = Arc::new(all);
                self.circles.lock().insert(circle.to_owned(), all.clone());
                all
            }
        };
        docs.union_with(&circle_docs);
        Ok(())
    }
}
