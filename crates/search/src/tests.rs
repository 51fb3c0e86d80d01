//! Queries of teachers on a small index.

use std::collections::BTreeMap;

use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    AclGroup, Change, Document, Facet, Filters, Index, Key, SearchQuery, SearchResults, SortOrder,
    Synonyms, Viewer, Writer,
};

/// An index in a temporary folder.
struct TestIndex {
    index: Index,
    writer: Writer,
    synonyms: Synonyms,
    _folder: TempDir,
}

fn empty_index() -> TestIndex {
    let folder = tempfile::tempdir().expect("a folder");
    let index = Index::create(folder.path()).expect("made");
    let writer = Writer::start(&index, 15_000_000).expect("a thread");
    let (synonyms, _) = Synonyms::parse("教案, 教学设计\n课件, PPT, 幻灯片");
    TestIndex {
        index,
        writer,
        synonyms,
        _folder: folder,
    }
}

fn key(n: u128) -> Key {
    Key::new("resource", Uuid::from_u128(n))
}

fn document(title: &str, body: &str) -> Document {
    Document {
        title: title.into(),
        body: body.into(),
        acl: vec![AclGroup::County],
        ..Document::default()
    }
}

const TEACHER: &[AclGroup] = &[AclGroup::Public, AclGroup::County];

impl TestIndex {
    fn put(&self, n: u128, document: Document) {
        self.writer
            .apply(vec![Change::Put(key(n), Box::new(document))])
            .expect("written");
    }

    fn ask(
        &self,
        line: &str,
        groups: &[AclGroup],
        filters: Filters,
        order: SortOrder,
    ) -> SearchResults {
        let viewer = Viewer {
            groups,
            hidden: &[],
        };
        let query = SearchQuery {
            text: line,
            viewer,
            filters,
            sort: order,
            offset: 0,
            limit: 20,
            synonyms: &self.synonyms,
        };
        self.index.search(&query).expect("every query has results")
    }

    fn titles(&self, line: &str) -> Vec<String> {
        let answer = self.ask(line, TEACHER, Filters::new(), SortOrder::Relevance);
        assert_eq!(answer.total, answer.hits.len());
        answer
            .hits
            .into_iter()
            .map(|hit| hit.document.title)
            .collect()
    }

    fn suggested(&self, line: &str, groups: &[AclGroup]) -> Vec<String> {
        let viewer = Viewer {
            groups,
            hidden: &[],
        };
        self.index
            .suggest(line, viewer, 8)
            .expect("results")
            .into_iter()
            .map(|suggestion| suggestion.title.text)
            .collect()
    }
}

fn sample_index() -> TestIndex {
    let index = empty_index();
    let teacher = Document {
        author: Some("曾庆红".into()),
        school: Some("柳林村小学".into()),
        ..document("分數的意義", "把單位「1」平均分成若干份。")
    };
    index.put(1, teacher);
    index.put(
        2,
        document(
            "圆的面积 PPT课件",
            "圆的面积公式 S=πr²。学生动手操作，推导公式。",
        ),
    );
    index.put(
        3,
        document(
            "My school day 教学设计",
            "Students describe a school day in English.",
        ),
    );
    index.put(4, document("小数学习单", "小数乘法练习。"));
    index.put(
        5,
        Document {
            pages: vec!["封面".into(), "水的循环：蒸发".into()],
            ..document("地球上的水", "")
        },
    );
    index
}

#[test]
fn queries_find_their_document_in_every_spelling() {
    let index = sample_index();
    for (line, expected) in [
        ("分数", "分數的意義"),
        ("分數", "分數的意義"),
        ("单位1", "分數的意義"),
        ("圆", "圆的面积 PPT课件"),
        ("公式s", "圆的面积 PPT课件"),
        ("ＰＰＴ", "圆的面积 PPT课件"),
        ("“平均分成若干份”", "分數的意義"),
        ("fsdyy", "分數的意義"),
        ("fenshu", "分數的意義"),
        ("zengqing", "分數的意義"),
        ("柳林村", "分數的意義"),
        ("school", "My school day 教学设计"),
        ("scholl", "My school day 教学设计"),
        ("hool", "My school day 教学设计"),
        ("教案 school", "My school day 教学设计"),
        ("幻灯片 圆", "圆的面积 PPT课件"),
        ("蒸发", "地球上的水"),
        ("小数乘法", "小数学习单"),
        ("推导圆柱公式", "圆的面积 PPT课件"),
    ] {
        assert_eq!(
            index.titles(line).first().map(String::as_str),
            Some(expected),
            "{line}"
        );
    }
    assert!(
        index.titles("“单位平均”").is_empty(),
        "a quoted phrase stands as it is or not at all"
    );
    assert!(index.titles("火星").is_empty());
}

#[test]
fn quotation_marks_scripts_and_formulas_are_supported() {
    let index = empty_index();
    index.put(1, document("例题", "例81：31÷21，圆周率取3.14。"));
    index.put(2, document("臺灣的地理", "日月潭（Ｕｎｉｔ３）"));
    index.put(3, document("圆", "PPT课件第3页"));
    for (line, expected) in [
        ("1：31÷2", &["例题"][..]),
        ("31÷21", &["例题"]),
        ("3.14", &["例题"]),
        ("3.1", &["例题"]),
        ("台湾", &["臺灣的地理"]),
        ("「臺灣的」", &["臺灣的地理"]),
        ("『台湾的地』", &["臺灣的地理"]),
        ("＂台湾的＂", &["臺灣的地理"]),
        ("\"台湾地\"", &[]),
        ("unit3", &["臺灣的地理"]),
        ("nit", &["臺灣的地理"]),
        ("潭", &["臺灣的地理"]),
        ("圆", &["圆", "例题"]),
        ("周率", &["例题"]),
        ("PPT课件", &["圆"]),
        ("ppt 第3页", &["圆"]),
    ] {
        let found = index.ask(line, TEACHER, Filters::new(), SortOrder::Relevance);
        let titles: Vec<&str> = found
            .hits
            .iter()
            .map(|hit| hit.document.title.as_str())
            .collect();
        assert_eq!(titles, expected, "{line}");
        assert!(!found.is_approximate, "{line}");
    }
}

#[test]
fn filtered_results_are_not_replaced_by_approximate_ones() {
    let index = empty_index();
    let of = |subject: &str| [(Facet::Subject, subject.to_owned())].into();
    index.put(
        1,
        Document {
            facets: of("数学"),
            ..document("weather 天气与统计", "")
        },
    );
    index.put(
        2,
        Document {
            facets: of("语文"),
            ..document("whether 一词的用法", "")
        },
    );
    let filters: Filters = [(Facet::Subject, vec!["语文".to_owned()])].into();
    let answer = index.ask("weather", TEACHER, filters, SortOrder::Relevance);
    assert_eq!((answer.total, answer.is_approximate), (0, false));
    assert_eq!(
        counted(&answer, Facet::Subject),
        [("数学".to_owned(), 1)].into()
    );
}

#[test]
fn equal_titles_do_not_crowd_out_other_suggestions() {
    let index = empty_index();
    let alike = (0..600).map(|n| Change::Put(key(n), Box::new(document("分数", ""))));
    index.writer.apply(alike.collect()).expect("written");
    index.put(1000, document("分数的意义和性质", ""));
    assert_eq!(
        index.suggested("分数", TEACHER),
        ["分数", "分数的意义和性质"]
    );
}

#[test]
fn every_substring_of_a_text_finds_it() {
    let index = sample_index();
    let text = "圆的面积公式 S=πr²。学生动手操作，推导公式。";
    let chars: Vec<char> = text.chars().collect();
    for length in 2..=8 {
        for cut in chars.windows(length) {
            let cut: String = cut.iter().collect();
            let found = index.titles(&cut);
            assert!(
                found.contains(&"圆的面积 PPT课件".to_owned()),
                "{cut:?} finds {found:?}"
            );
        }
    }
}

#[test]
fn a_hit_reports_its_page_and_an_excerpt() {
    let index = sample_index();
    let answer = index.ask("蒸发", TEACHER, Filters::new(), SortOrder::Relevance);
    let hit = &answer.hits[0];
    assert_eq!(hit.page(), Some(2));
    assert_eq!(hit.excerpts[0].1.highlighted.text, "水的循环：蒸发");
    assert_eq!(hit.excerpts[0].1.highlighted.ranges, [(5, 7)]);
    assert_eq!(
        index
            .ask("地球", TEACHER, Filters::new(), SortOrder::Relevance)
            .hits[0]
            .page(),
        None,
        "the title has no page"
    );
}

#[test]
fn a_phrase_does_not_match_across_pages() {
    let index = empty_index();
    index.put(
        1,
        Document {
            pages: vec!["最后甲乙".into(), "丙丁开始".into()],
            ..document("x", "")
        },
    );
    assert!(index.titles("“甲乙丙丁”").is_empty());
    assert_eq!(index.titles("“最后甲乙”").len(), 1);
}

/// Counts of a facet.
fn counted(answer: &SearchResults, facet: Facet) -> BTreeMap<String, u32> {
    answer.facets[&facet].iter().cloned().collect()
}

#[test]
fn facet_counts_are_the_results_of_selecting_them() {
    let index = empty_index();
    for (n, (subject, grade)) in [
        ("数学", "三年级"),
        ("数学", "四年级"),
        ("语文", "三年级"),
        ("语文", "五年级"),
    ]
    .into_iter()
    .enumerate()
    {
        let facets = [
            (Facet::Subject, subject.to_owned()),
            (Facet::Grade, grade.to_owned()),
        ]
        .into();
        index.put(
            n as u128,
            Document {
                facets,
                uses: n as u64,
                rating: 5.0 - n as f64,
                created_at: n as i64,
                ..document("期末复习", "")
            },
        );
    }
    let filters: Filters = [
        (Facet::Subject, vec!["数学".to_owned()]),
        (Facet::Grade, vec!["三年级".to_owned()]),
    ]
    .into();
    let answer = index.ask("复习", TEACHER, filters, SortOrder::Relevance);
    assert_eq!(answer.total, 1);
    assert_eq!(
        counted(&answer, Facet::Subject),
        [("数学".into(), 1), ("语文".into(), 1)].into()
    );
    assert_eq!(
        counted(&answer, Facet::Grade),
        [("三年级".into(), 1), ("四年级".into(), 1)].into()
    );
    let unknown: Filters = [(Facet::Subject, vec!["没有这一科".to_owned()])].into();
    assert_eq!(
        index
            .ask("复习", TEACHER, unknown, SortOrder::Relevance)
            .total,
        0
    );
    let order = |order| {
        index
            .ask("", TEACHER, Filters::new(), order)
            .hits
            .iter()
            .map(|hit| hit.document.uses)
            .collect::<Vec<_>>()
    };
    assert_eq!(order(SortOrder::Newest), [3, 2, 1, 0]);
    assert_eq!(order(SortOrder::MostUsed), [3, 2, 1, 0]);
    assert_eq!(order(SortOrder::BestRated), [0, 1, 2, 3]);
    assert_eq!(
        index.titles("三年级 语文").len(),
        1,
        "facets can be searched for"
    );
}

#[test]
fn hidden_documents_appear_in_no_result_count_or_suggestion() {
    let index = empty_index();
    let (own, other, friend) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let acls = [
        vec![AclGroup::Public],
        vec![AclGroup::School(own)],
        vec![AclGroup::School(other)],
        vec![AclGroup::Community(own)],
        vec![
            AclGroup::Individual(friend),
            AclGroup::Role("observer".into()),
        ],
        vec![],
    ];
    for (n, acl) in acls.iter().enumerate() {
        let facets = [(Facet::Unit, format!("单元{n}"))].into();
        let secret = Document {
            acl: acl.clone(),
            facets,
            ..document(
                &format!("机密教案第{n}号 secret"),
                "机密的内容 confidential",
            )
        };
        index.put(n as u128, secret);
    }
    let readers: [&[AclGroup]; 5] = [
        &[],
        &[AclGroup::Public, AclGroup::County],
        &[
            AclGroup::Public,
            AclGroup::County,
            AclGroup::School(own),
            AclGroup::Community(other),
        ],
        &[AclGroup::Individual(friend)],
        &[AclGroup::Role("observer".into()), AclGroup::Individual(own)],
    ];
    let lines = [
        "",
        "机密",
        "机",
        "“机密的内容”",
        "confidential",
        "confidentail",
        "jm",
        "机密 不存在的词",
        "幻灯片 机密",
        "单元2",
    ];
    for reader in readers {
        let may_see = |n: usize| acls[n].iter().any(|group| reader.contains(group));
        for line in lines {
            let answer = index.ask(line, reader, Filters::new(), SortOrder::Relevance);
            let shown: Vec<usize> = answer
                .hits
                .iter()
                .map(|hit| hit.key.id.as_u128() as usize)
                .collect();
            assert!(
                shown.iter().all(|n| may_see(*n)),
                "{line:?} shows {shown:?} to {reader:?}"
            );
            assert_eq!(answer.total, shown.len());
            for unit in counted(&answer, Facet::Unit).keys() {
                assert!(
                    (0..acls.len()).any(|n| may_see(n) && *unit == format!("单元{n}")),
                    "{line:?} counts {unit} for {reader:?}"
                );
            }
            let suggested = index.suggested(line, reader);
            assert!(
                suggested.iter().all(|title| (0..acls.len())
                    .any(|n| may_see(n) && title.contains(&format!("第{n}号")))),
                "{line:?}"
            );
        }
        let all = index
            .ask("机密", reader, Filters::new(), SortOrder::Relevance)
            .total;
        assert_eq!(
            all,
            (0..acls.len()).filter(|n| may_see(*n)).count(),
            "and all visible documents are found"
        );
        for n in 0..acls.len() {
            let similar = index
                .index
                .similar(
                    &key(n as u128),
                    Viewer {
                        groups: reader,
                        hidden: &[],
                    },
                    10,
                )
                .expect("results");
            assert_eq!(
                similar.is_some(),
                may_see(n),
                "a similarity query would reveal that the document exists"
            );
            let keys = similar.unwrap_or_default();
            assert!(
                keys.iter()
                    .all(|hit| may_see(hit.key.id.as_u128() as usize))
            );
        }
    }
    let hidden = [key(0)];
    let viewer = Viewer {
        groups: TEACHER,
        hidden: &hidden,
    };
    let query = SearchQuery {
        text: "机密",
        viewer,
        filters: Filters::new(),
        sort: SortOrder::Relevance,
        offset: 0,
        limit: 9,
        synonyms: &index.synonyms,
    };
    let answer = index.index.search(&query).expect("results");
    assert_eq!(
        (answer.total, counted(&answer, Facet::Unit).len()),
        (0, 0),
        "the document was just withdrawn"
    );
}

#[test]
fn suggestions_complete_the_input() {
    let index = sample_index();
    for (typed, expected) in [
        ("分", "分數的意義"),
        ("分数的", "分數的意義"),
        ("fens", "分數的意義"),
        ("yms", ""),
        ("scho", "My school day 教学设计"),
        ("ydmj", "圆的面积 PPT课件"),
    ] {
        assert_eq!(
            index
                .suggested(typed, TEACHER)
                .first()
                .map_or("", String::as_str),
            expected,
            "{typed}"
        );
    }
    assert!(
        index.suggested("单位", TEACHER).is_empty(),
        "texts are not suggested, only titles and names"
    );
}

#[test]
fn similar_documents_exclude_the_document_itself() {
    let index = sample_index();
    index.put(
        6,
        document("分数的基本性质", "分数的分子和分母同时乘相同的数，平均分。"),
    );
    let similar = index
        .index
        .similar(
            &key(1),
            Viewer {
                groups: TEACHER,
                hidden: &[],
            },
            5,
        )
        .expect("results")
        .expect("seen");
    assert_eq!(
        similar.first().map(|hit| hit.document.title.as_str()),
        Some("分数的基本性质")
    );
    assert!(similar.iter().all(|hit| hit.key != key(1)));
}

#[test]
fn a_change_replaces_and_a_removal_removes() {
    let index = sample_index();
    index.put(1, document("改名以后", "新的内容"));
    assert!(index.titles("分数").is_empty());
    assert_eq!(index.titles("改名"), ["改名以后"]);
    index
        .writer
        .apply(vec![Change::Remove(key(1)), Change::Remove(key(99))])
        .expect("written");
    assert!(index.titles("改名").is_empty());
    assert_eq!(index.index.document_count(), 4);
}

#[test]
fn a_generation_is_current_once_activated() {
    let folder = tempfile::tempdir().expect("a folder");
    let shelf = crate::Generations::new(folder.path().join("search"));
    assert!(shelf.current().is_none());
    let index = shelf.create().expect("made");
    Writer::start(&index, 15_000_000)
        .expect("a thread")
        .apply(vec![Change::Put(key(1), Box::new(document("在", "")))])
        .expect("written");
    assert!(
        shelf.current().is_none(),
        "a generation is current after its activation"
    );
    shelf.activate(&index).expect("named");
    assert_eq!(shelf.current().expect("there").document_count(), 1);
    let next = shelf.create().expect("made");
    shelf.activate(&next).expect("named");
    shelf.remove_others(&next).expect("removed");
    assert_eq!(shelf.current().expect("there").document_count(), 0);
    assert!(!index.folder().exists());
    std::fs::write(folder.path().join("search/current"), "0-ffff").expect("written");
    assert!(
        shelf.current().is_none(),
        "another format version is not opened"
    );
    std::fs::write(folder.path().join("search/current"), "../..").expect("written");
    assert!(shelf.current().is_none());
}

#[test]
fn every_input_has_results_without_an_error() {
    let index = sample_index();
    let alphabet: Vec<char> =
        "分数圓的一ａＢz19 \"“”「」'()[]{}*?~^+-:\\/&|!，。\u{0}\u{301}\u{200d}\u{feff}💡𠀀ßİǆ﷽㍿½"
            .chars()
            .collect();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..400 {
        let line: String = (0..random(24))
            .map(|_| alphabet[random(alphabet.len())])
            .collect();
        let answer = index.ask(&line, TEACHER, Filters::new(), SortOrder::Relevance);
        assert!(answer.total >= answer.hits.len(), "{line:?}");
        index.suggested(&line, TEACHER);
    }
}
