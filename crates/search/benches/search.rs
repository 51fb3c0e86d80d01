//! Search in 100 000 resources, as the teachers of a county share them, on one core during
//! indexing.
//!
//!     cargo bench --bench search                     from the root of the workspace, or with -p tongke-search
//!
//! A seeded generator creates the resources: curriculum titles, bodies of 1 to 2 kB, a tenth of
//! them half English, a tenth decks with pages. Queries are of the kinds that people type, each
//! derived from an existing resource; meanwhile the writer applies changes continuously. Recall is
//! measured with substrings of 2 to 8 characters from random positions of random bodies: each must
//! find its resource. The last line is one JSON object; suggestions and similar documents are
//! listed above it and are not part of its percentiles.
//!
//! `SEARCH_RESOURCES` sets the number of resources. `SEARCH_INDEX` names a folder whose index is
//! reused if it exists, for tuning queries, as building it takes most of the time; the line then
//! contains `"index_seconds":null`.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tongke_search::{
    AclGroup, Change, Document, Facet, Filters, Index, Key, SearchQuery, SortOrder, Synonyms,
    Viewer, Writer,
};
use uuid::Uuid;

const SEED: u64 = 20_260_901;
/// Batch sizes: while building the index, and while querying.
const BATCH: usize = 1000;
const SMALL_BATCH: usize = 20;
const QUERIES: usize = 3000;
const SUBSTRINGS: usize = 3500;
const HEAP_BYTES: usize = 50_000_000;

fn main() {
    let resources = std::env::var("SEARCH_RESOURCES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    run_on_one_core();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let kept = std::env::var_os("SEARCH_INDEX").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(scratch.path());
    tongke_search::load_dictionary();
    let (index, writer, index_seconds) = built(folder, resources);

    let (latencies, changes) =
        while_indexing(&index, writer, resources, || run_queries(&index, resources));
    let total: usize = latencies.iter().map(|(_, times)| times.len()).sum();
    println!("{total} queries while {changes} changes were indexed");
    for (kind, times) in &latencies {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|part| percentile(times, part));
        println!("  {kind:<24} p50 {p50:6.2} ms   p90 {p90:6.2} ms   p99 {p99:6.2} ms");
    }
    let counted = latencies
        .iter()
        .filter(|(kind, _)| !EXCLUDED.contains(kind));
    let all: Vec<f64> = counted
        .flat_map(|(_, times)| times.iter().copied())
        .collect();
    let recall = recall(&index, resources);
    let line = serde_json::json!({
        "bench": "search",
        "resources": resources,
        "p50_ms": rounded(percentile(&all, 0.5)),
        "p99_ms": rounded(percentile(&all, 0.99)),
        "recall_2_to_8": recall,
        "index_seconds": index_seconds.map(rounded),
        "index_bytes": bytes_in(folder),
    });
    println!("{line}");
}

/// Builds the index of all resources; returns the duration too, or `None` for a reused index.
fn built(folder: &Path, resources: usize) -> (Index, Writer, Option<f64>) {
    if let Ok(index) = Index::open(folder)
        && index.document_count() == resources as u64
    {
        let writer = Writer::start(&index, HEAP_BYTES).expect("a thread");
        return (index, writer, None);
    }
    let index = Index::create(folder).expect("an empty folder");
    let writer = Writer::start(&index, HEAP_BYTES).expect("a thread");
    let begun = Instant::now();
    for from in (0..resources).step_by(BATCH) {
        writer
            .apply((from..resources.min(from + BATCH)).map(put).collect())
            .expect("written");
    }
    let index_seconds = begun.elapsed().as_secs_f64();
    println!("indexed {resources} resources in {index_seconds:.1} s");
    (index, writer, Some(index_seconds))
}

/// Pins the process to one core, shared by queries, writer and merges.
fn run_on_one_core() {
    // SAFETY: the set is a plain bit field that lives on this stack; CPU 0 always exists.
    let outcome = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(0, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    assert_eq!(outcome, 0, "the bench can choose its core");
}

/// Runs `work` while another thread indexes changes; returns their number.
fn while_indexing<T>(
    index: &Index,
    writer: Writer,
    resources: usize,
    work: impl FnOnce() -> T,
) -> (T, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let indexing = std::thread::spawn({
        let (stop, written) = (stop.clone(), written.clone());
        move || {
            let mut random = StdRng::seed_from_u64(SEED + 1);
            while !stop.load(Ordering::Relaxed) {
                writer
                    .apply(
                        (0..SMALL_BATCH)
                            .map(|_| put(random.random_range(0..resources)))
                            .collect(),
                    )
                    .expect("written");
                written.fetch_add(SMALL_BATCH as u64, Ordering::Relaxed);
            }
        }
    });
    let outcome = work();
    stop.store(true, Ordering::Relaxed);
    indexing.join().expect("the writer does not panic");
    assert_eq!(
        index.document_count(),
        resources as u64,
        "a change replaces"
    );
    (outcome, written.load(Ordering::Relaxed))
}

/// Creates a query from an existing resource.
type Make = fn(&mut StdRng, &Document) -> String;

/// Requests that are not part of the percentiles.
const EXCLUDED: [&str; 2] = ["suggestions", "more like this"];

/// Runs all kinds of queries; returns the latencies of each in milliseconds.
fn run_queries(index: &Index, resources: usize) -> Vec<(&'static str, Vec<f64>)> {
    let kinds: [(&str, Make); 15] = [
        ("a character", |random, resource| {
            cut(random, &resource.title, 1)
        }),
        ("two characters", |random, resource| {
            cut(random, &resource.body, 2)
        }),
        ("a word", |random, _| pick(random, TOPICS).into()),
        ("a common word", |random, _| {
            pick(random, &["学生", "教学", "数学", "理解", "活动"]).into()
        }),
        ("a title", |_, resource| resource.title.clone()),
        ("words of a title", |random, _| {
            format!(
                "{} {} {}",
                pick(random, GRADES),
                pick(random, TOPICS),
                pick(random, TYPES)
            )
        }),
        ("a phrase in quotes", |random, resource| {
            format!("“{}”", cut(random, &resource.body, 6))
        }),
        ("a piece of a sentence", |random, resource| {
            cut(random, &resource.body, 8)
        }),
        ("a formula", |random, _| {
            format!(
                "{}÷{}",
                random.random_range(2..100),
                random.random_range(2..100)
            )
        }),
        ("a synonym", |random, _| {
            format!("{}教案", pick(random, TOPICS))
        }),
        ("pinyin", |random, _| {
            pick(
                random,
                &[
                    "fenshu",
                    "yuandemianji",
                    "xiangsanjiao",
                    "fs",
                    "jx",
                    "shuix",
                    "zhangwei",
                    "sanjiaoxing",
                ],
            )
            .into()
        }),
        ("English with a slip", |random, _| {
            pick(
                random,
                &[
                    "scholl",
                    "techer",
                    "animels",
                    "wether",
                    "libary",
                    "PPT课件",
                    "unit 3",
                ],
            )
            .into()
        }),
        ("nothing, filters", |_, _| String::new()),
        ("suggestions", |random, resource| {
            let typed = random.random_range(1..5);
            cut(random, &resource.title, typed)
        }),
        ("more like this", |_, _| String::new()),
    ];
    let groups = teacher();
    let mut random = StdRng::seed_from_u64(SEED + 2);
    let mut latencies: Vec<(&'static str, Vec<f64>)> =
        kinds.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for n in 0..QUERIES {
        let (name, make) = &kinds[n % kinds.len()];
        let number = random.random_range(0..resources);
        let resource = resource(number);
        let line = make(&mut random, &resource);
        let filters: Filters = match name.ends_with("filters") {
            true => [(
                Facet::Subject,
                vec![resource.facets[&Facet::Subject].clone()],
            )]
            .into(),
            false => Filters::new(),
        };
        let began = Instant::now();
        match *name {
            "suggestions" => drop(black_box(
                index.suggest(&line, viewer(&groups), 8).expect("results"),
            )),
            "more like this" => drop(black_box(
                index
                    .similar(&key(number), viewer(&groups), 10)
                    .expect("results"),
            )),
            _ => drop(black_box(ask(index, &line, filters))),
        }
        latencies[n % kinds.len()]
            .1
            .push(began.elapsed().as_secs_f64() * 1000.0);
        // Pause between requests, in which the writer gets the core.
        std::thread::sleep(Duration::from_millis(2));
    }
    latencies
}

fn ask(index: &Index, line: &str, filters: Filters) -> tongke_search::SearchResults {
    static SYNONYMS: std::sync::LazyLock<Synonyms> = std::sync::LazyLock::new(|| {
        Synonyms::parse(include_str!("../../../deploy/synonyms.txt")).0
    });
    let groups = teacher();
    let query = SearchQuery {
        text: line,
        viewer: viewer(&groups),
        filters,
        sort: SortOrder::Relevance,
        offset: 0,
        limit: 20,
        synonyms: &SYNONYMS,
    };
    index.search(&query).expect("every query has results")
}

fn viewer(groups: &[AclGroup]) -> Viewer<'_> {
    Viewer {
        groups,
        hidden: &[],
    }
}

/// Access groups of a teacher of the first school.
fn teacher() -> Vec<AclGroup> {
    let groups = [
        AclGroup::Public,
        AclGroup::County,
        AclGroup::Role("teacher".into()),
    ];
    groups
        .into_iter()
        .chain([
            AclGroup::School(Uuid::from_u128(1)),
            AclGroup::Community(Uuid::from_u128(1)),
        ])
        .collect()
}

/// Share of random substrings that find their resource, at any rank.
fn recall(index: &Index, resources: usize) -> f64 {
    let mut random = StdRng::seed_from_u64(SEED + 3);
    let (mut found, mut tried) = (0, 0);
    while tried < SUBSTRINGS {
        let number = random.random_range(0..resources);
        let resource = resource(number);
        let substring = cut(&mut random, &resource.body, 2 + tried % 7);
        if !resource.acl.iter().any(|group| teacher().contains(group))
            || !substring.chars().any(char::is_alphanumeric)
        {
            continue;
        }
        tried += 1;
        if finds(index, &substring, number) {
            found += 1;
        } else {
            println!("  not found: {substring:?}");
        }
    }
    found as f64 / tried as f64
}

/// True if the resource is among all results. A filter by a rare value keeps the result list short
/// enough for one page; approximate results do not count.
fn finds(index: &Index, line: &str, number: usize) -> bool {
    let filters: Filters = [(Facet::Licence, vec![rare_licence(number)])].into();
    let answer = ask(index, line, filters);
    assert!(answer.total <= answer.hits.len(), "the list fits on a page");
    !answer.is_approximate && answer.hits.iter().any(|hit| hit.key == key(number))
}

/// Substring of `length` characters at a random position.
fn cut(random: &mut StdRng, text: &str, length: usize) -> String {
    let count = text.chars().count();
    let from = random.random_range(0..count.saturating_sub(length).max(1));
    text.chars().skip(from).take(length).collect()
}

fn percentile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder)
        .expect("a folder")
        .filter_map(|entry| entry.ok()?.metadata().ok());
    files.map(|file| file.len()).sum()
}

fn key(number: usize) -> Key {
    Key::new("resource", Uuid::from_u128(number as u128 + 1))
}

/// Rare facet value, so that a filtered list is short.
fn rare_licence(number: usize) -> String {
    format!("许可{}", number % 5000)
}

fn put(number: usize) -> Change {
    Change::Put(key(number), Box::new(resource(number)))
}

/// Resource with this number, always the same.
fn resource(number: usize) -> Document {
    let mut random =
        StdRng::seed_from_u64(SEED ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (subject, grade, topic, kind) = (
        pick(&mut random, SUBJECTS),
        pick(&mut random, GRADES),
        pick(&mut random, TOPICS),
        pick(&mut random, TYPES),
    );
    let lesson = random.random_range(1..9);
    let english = random.random_bool(0.1);
    let length = random.random_range(350..680);
    let body = text(&mut random, length, english);
    let pages = if random.random_bool(0.1) {
        (0..8).map(|_| text(&mut random, 60, english)).collect()
    } else {
        Vec::new()
    };
    let school = random.random_range(1..200_u128);
    let facets = [
        (
            Facet::Stage,
            if grade.starts_with(['七', '八', '九']) {
                "初中"
            } else {
                "小学"
            }
            .to_owned(),
        ),
        (Facet::Grade, grade.to_owned()),
        (Facet::Subject, subject.to_owned()),
        (Facet::Edition, pick(&mut random, EDITIONS).to_owned()),
        (
            Facet::Volume,
            pick(&mut random, &["上册", "下册"]).to_owned(),
        ),
        (Facet::Unit, format!("第{lesson}单元 {topic}")),
        (
            Facet::ResourceType,
            pick(
                &mut random,
                &["courseware", "lesson_plan", "exercise", "micro_lesson"],
            )
            .to_owned(),
        ),
        (Facet::Licence, rare_licence(number)),
        (
            Facet::FileType,
            pick(&mut random, &["pptx", "docx", "pdf", "mp4"]).to_owned(),
        ),
    ];
    let acl = match random.random_range(0..20) {
        0 => AclGroup::School(Uuid::from_u128(school)),
        1 => AclGroup::Community(Uuid::from_u128(school % 20)),
        2..4 => AclGroup::Public,
        _ => AclGroup::County,
    };
    Document {
        title: format!("{grade}{subject}《{topic}》第{lesson}课时{kind}"),
        author: Some(format!(
            "{}{}",
            pick(&mut random, SURNAMES),
            pick(&mut random, GIVEN_NAMES)
        )),
        author_id: Some(Uuid::from_u128(random.random_range(1..3000))),
        school: Some(format!(
            "{}{}",
            pick(&mut random, PLACES),
            pick(&mut random, &["小学", "中心小学", "实验小学", "中学"])
        )),
        school_id: Some(Uuid::from_u128(school)),
        body,
        pages,
        keywords: vec![topic.to_owned(), kind.to_owned()],
        facets: facets.into(),
        acl: vec![acl],
        created_at: 1_700_000_000_000 + number as i64 * 60_000,
        updated_at: 1_700_000_000_000 + number as i64 * 60_000,
        uses: random.random_range(0..500),
        rating: f64::from(random.random_range(0..50)) / 10.0,
    }
}

/// Sentences of about `length` characters in total.
fn text(random: &mut StdRng, length: usize, english: bool) -> String {
    let mut text = String::new();
    let mut count = 0;
    while count < length {
        let sentence = if english && random.random_bool(0.5) {
            english_sentence(random)
        } else {
            sentence(random)
        };
        count += sentence.chars().count();
        text += &sentence;
        if random.random_bool(0.15) {
            text.push('\n');
        }
    }
    text
}

fn sentence(random: &mut StdRng) -> String {
    let (who, does, topic, thing) = (
        pick(random, WHO),
        pick(random, DOES),
        pick(random, TOPICS),
        pick(random, THINGS),
    );
    // Two random characters: text outside of any dictionary.
    let odd: String = (0..2)
        .filter_map(|_| char::from_u32(random.random_range(0x4E00..0x9FA5)))
        .collect();
    let (first, second) = (random.random_range(2..100), random.random_range(2..100));
    match random.random_range(0..7) {
        0 => format!("{who}{does}{topic}的{thing}，{}。", pick(random, ENDS)),
        1 => format!(
            "例{first}：{first}÷{second}，想一想{topic}和{}有什么关系？",
            pick(random, TOPICS)
        ),
        2 => format!("（{first}）{who}用PPT出示{topic}，{}；", pick(random, ENDS)),
        3 => format!("{odd}同学说：“{thing}是{topic}的关键。”"),
        4 => format!("板书设计：{topic}→{thing}→{}。", pick(random, THINGS)),
        5 => format!(
            "{who}{does}{thing}，再{}{}。",
            pick(random, DOES),
            pick(random, THINGS)
        ),
        _ => format!(
            "作业：第{first}页第{second}题，{who}{}。",
            pick(random, ENDS)
        ),
    }
}

fn english_sentence(random: &mut StdRng) -> String {
    let words = random.random_range(5..12);
    let words: Vec<&str> = (0..words).map(|_| pick(random, ENGLISH)).collect();
    format!("{}. ", words.join(" "))
}

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(random).expect("no list is empty")
}

const SUBJECTS: &[&str] = &[
    "数学",
    "语文",
    "英语",
    "科学",
    "道德与法治",
    "音乐",
    "美术",
    "体育",
    "信息科技",
    "历史",
    "地理",
    "物理",
    "化学",
    "生物",
];
const GRADES: &[&str] = &[
    "一年级",
    "二年级",
    "三年级",
    "四年级",
    "五年级",
    "六年级",
    "七年级",
    "八年级",
    "九年级",
];
const TYPES: &[&str] = &[
    "教学设计",
    "课件",
    "导学案",
    "练习题",
    "微课",
    "说课稿",
    "单元检测",
    "教学反思",
    "复习资料",
];
const EDITIONS: &[&str] = &["人教版", "北师大版", "苏教版", "外研版", "冀教版", "青岛版"];
const TOPICS: &[&str] = &[
    "分数的意义",
    "分数的基本性质",
    "圆的面积",
    "圆柱与圆锥",
    "三角形的内角和",
    "小数乘法",
    "小数除法",
    "两位数乘两位数",
    "长方形的周长",
    "认识钟表",
    "负数",
    "百分数的应用",
    "比例尺",
    "一元一次方程",
    "二次函数",
    "勾股定理",
    "平行四边形",
    "统计与可能性",
    "植树问题",
    "鸡兔同笼",
    "桂林山水",
    "草船借箭",
    "富饶的西沙群岛",
    "小蝌蚪找妈妈",
    "望庐山瀑布",
    "静夜思",
    "背影",
    "从百草园到三味书屋",
    "春",
    "济南的冬天",
    "落花生",
    "圆明园的毁灭",
    "秋天的雨",
    "修辞手法",
    "看图写话",
    "水的循环",
    "光的折射",
    "电路",
    "植物的光合作用",
    "地球的公转",
    "浮力",
    "杠杆",
    "酸和碱",
    "细胞的结构",
    "食物链",
    "丝绸之路",
    "辛亥革命",
    "地形与气候",
    "我爱家乡",
    "交通安全",
    "诚实守信",
    "法律保护我们",
    "节奏与节拍",
    "色彩的冷暖",
    "前滚翻",
    "算法初步",
    "My school",
    "Weather",
    "Food and drinks",
    "At the zoo",
];
const WHO: &[&str] = &[
    "学生",
    "老师",
    "同桌两人",
    "小组成员",
    "全班同学",
    "教师",
    "第三小组",
    "听讲教室的同学",
    "课代表",
    "请一位同学",
];
const DOES: &[&str] = &[
    "讨论",
    "理解",
    "复习",
    "比较",
    "观察",
    "归纳",
    "动手操作",
    "朗读",
    "抄写",
    "推导",
    "举例说明",
    "合作探究",
    "回忆",
    "预习",
    "总结",
    "交流",
    "画出",
    "验证",
    "背诵",
    "分析",
];
const THINGS: &[&str] = &[
    "计算方法",
    "重点词语",
    "实验步骤",
    "公式",
    "单位",
    "生字",
    "课文内容",
    "图形特点",
    "数量关系",
    "写作思路",
    "情感态度",
    "学习目标",
    "教学重难点",
    "生活中的例子",
    "思维导图",
    "错题",
    "人物形象",
    "段落大意",
    "实验数据",
    "历史背景",
    "知识点",
    "解题策略",
    "表达方式",
    "规律",
    "概念",
    "活动过程",
    "评价标准",
    "课堂小结",
    "拓展练习",
    "学具",
];
const ENDS: &[&str] = &[
    "并在小组内交流",
    "培养动手操作能力",
    "感受数学与生活的联系",
    "体会作者的思想感情",
    "完成学习单",
    "再请同学补充",
    "教师巡视指导",
    "注意书写规范",
    "说一说自己的想法",
    "形成初步的认识",
    "独立完成后集体订正",
    "激发学习兴趣",
];
const ENGLISH: &[&str] = &[
    "the",
    "students",
    "read",
    "and",
    "write",
    "about",
    "their",
    "school",
    "teacher",
    "animals",
    "weather",
    "library",
    "favourite",
    "breakfast",
    "always",
    "usually",
    "yesterday",
    "visited",
    "museum",
    "because",
    "important",
    "listen",
    "carefully",
    "answer",
    "query",
    "partner",
    "practice",
    "dialogue",
    "vocabulary",
    "grammar",
    "picture",
    "story",
    "family",
    "friend",
    "holiday",
];
const SURNAMES: &[&str] = &[
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "曾", "单", "欧阳",
];
const GIVEN_NAMES: &[&str] = &[
    "伟", "芳", "娜", "秀英", "敏", "静", "丽", "强", "磊", "洋", "艳", "勇", "军", "杰", "娟",
    "涛", "明", "超", "秀兰", "霞",
];
const PLACES: &[&str] = &[
    "柳林村",
    "清河县第一",
    "石桥镇",
    "白杨树乡",
    "青山",
    "红旗",
    "大王庄",
    "下河湾",
    "重庆路",
    "长乐",
    "北关",
    "南门",
    "黄土坡",
    "三里屯",
    "东风",
];
