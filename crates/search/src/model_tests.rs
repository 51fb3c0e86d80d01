//! The index compared with a model that searches every text from start to end: matches, filters and
//! access control. The texts use few characters, so that phrases overlap and repeat.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::text::{fold, is_cjk};
use crate::{
    AclGroup, Change, Document, Facet, Filters, Index, Key, SearchQuery, SortOrder, Synonyms,
    Viewer, Writer,
};

const ALPHABET: &[char] = &[
    '数', '学', '數', '学', '教', '设', '计', 'a', 'B', '1', '２', '，', ' ', '÷',
];
const SUBJECTS: &[&str] = &["数学", "语文", "英语"];

/// Normal form of documents and queries: characters, with a space between two runs of letters.
fn plain(text: &str) -> String {
    let (mut plain, mut gap) = (String::new(), false);
    for c in fold(text).chars() {
        if !c.is_alphanumeric() {
            gap = true;
            continue;
        }
        let runs_on = plain.chars().next_back().is_some_and(|last| !is_cjk(last)) && !is_cjk(c);
        if gap && runs_on {
            plain.push(' ');
        }
        plain.push(c);
        gap = false;
    }
    plain
}

fn text(random: &mut StdRng, most: usize) -> String {
    (0..random.random_range(1..=most))
        .map(|_| ALPHABET.choose(random).expect("not empty"))
        .collect()
}

fn document(random: &mut StdRng) -> Document {
    let groups = [
        AclGroup::Public,
        AclGroup::County,
        AclGroup::School(Uuid::nil()),
        AclGroup::Individual(Uuid::nil()),
    ];
    Document {
        title: text(random, 6),
        body: text(random, 30),
        pages: (0..random.random_range(0..3))
            .map(|_| text(random, 12))
            .collect(),
        facets: [(
            Facet::Subject,
            (*SUBJECTS.choose(random).expect("not empty")).to_owned(),
        )]
        .into(),
        acl: (0..random.random_range(1..3))
            .map(|_| groups.choose(random).expect("not empty").clone())
            .collect(),
        ..Document::default()
    }
}

fn has(document: &Document, wanted: &str) -> bool {
    let texts = [&document.title, &document.body]
        .into_iter()
        .chain(&document.pages)
        .chain(document.facets.values());
    texts
        .map(|text| plain(text))
        .any(|text| text.contains(wanted))
}

#[test]
fn results_equal_those_of_a_full_scan() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let index = Index::create(folder.path()).expect("made");
    let writer = Writer::start(&index, 15_000_000).expect("a thread");
    let mut model: BTreeMap<u128, Document> = BTreeMap::new();
    let key = |n: u128| Key::new("resource", Uuid::from_u128(n));
    for _ in 0..12 {
        let mut changes = Vec::new();
        for _ in 0..60 {
            let n = random.random_range(0..400);
            if random.random_bool(0.2) {
                model.remove(&n);
                changes.push(Change::Remove(key(n)));
            } else {
                let document = document(&mut random);
                model.insert(n, document.clone());
                changes.push(Change::Put(key(n), Box::new(document)));
            }
        }
        writer.apply(changes).expect("written");
        for _ in 0..40 {
            let line = text(&mut random, 7);
            let wanted = plain(&line);
            if wanted.is_empty() {
                continue;
            }
            let groups = [AclGroup::County, AclGroup::School(Uuid::nil())];
            let groups = &groups[..random.random_range(0..=2)];
            let is_visible =
                |document: &Document| document.acl.iter().any(|group| groups.contains(group));
            let found: BTreeMap<u128, &Document> = model
                .iter()
                .filter(|(_, d)| is_visible(d) && has(d, &wanted))
                .map(|(n, d)| (*n, d))
                .collect();
            let subject = *SUBJECTS.choose(&mut random).expect("not empty");
            let filters: Filters = [(Facet::Subject, vec![subject.to_owned()])].into();
            let query = SearchQuery {
                text: &format!("“{line}”"),
                viewer: Viewer {
                    groups,
                    hidden: &[],
                },
                filters,
                sort: *[SortOrder::Relevance, SortOrder::Newest]
                    .choose(&mut random)
                    .expect("not empty"),
                offset: 0,
                limit: 400,
                synonyms: &Synonyms::default(),
            };
            let answer = index.search(&query).expect("answered");
            let shown: BTreeSet<u128> =
                answer.hits.iter().map(|hit| hit.key.id.as_u128()).collect();
            let expected: BTreeSet<u128> = found
                .iter()
                .filter(|(_, d)| d.facets[&Facet::Subject] == subject)
                .map(|(n, _)| *n)
                .collect();
            assert_eq!(shown, expected, "{line:?} as {wanted:?}, seed {seed}");
            assert_eq!(answer.total, expected.len());
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            found
                .values()
                .for_each(|d| *counts.entry(d.facets[&Facet::Subject].clone()).or_default() += 1);
            let counted: BTreeMap<String, u32> =
                answer.facets[&Facet::Subject].iter().cloned().collect();
            assert_eq!(counted, counts, "{line:?}, seed {seed}");
        }
    }
    assert_eq!(index.document_count(), model.len() as u64);
}
