//! The index's fields, and how a document is laid out in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, STORED, STRING, Schema, SchemaBuilder,
    TantivyDocument, TextFieldIndexing, TextOptions, Value,
};
use tantivy::{Index, Term};

use crate::document::{Document, Facet, Key};
use crate::text::fold;
use crate::words::Cut;

/// Raised with every change of fields, of cutting or of folding: an index of another format is built anew.
pub const FORMAT: u32 = 3;

/// Characters of a document that are indexed, a thick book; whatever follows is not found.
pub const MOST_CHARS: usize = 500_000;

/// Where texts are looked for by their characters.
#[derive(Clone, Debug)]
pub struct Characters {
    pub singles: Field,
    pub pairs: Field,
    /// With their places, by which longer phrases are put together.
    pub triples: Field,
    /// Where the words of the same texts are: what is there need not be put together of pairs.
    pub words: Vec<Field>,
}

/// All fields.
#[derive(Clone, Debug)]
pub struct Fields {
    pub schema: Schema,
    /// Kind and id.
    pub key: Field,
    /// [`Card`] as JSON.
    pub card: Field,
    /// The title as it was written; beside the key, all that a suggestion shows.
    pub shown: Field,
    /// Who may find it.
    pub circles: Field,
    /// Ids of the author and the school, whose change changes this document too.
    pub mentions: Field,
    /// All texts together: what is asked for is found here, once and for all fields. The others only rank what was found.
    pub all: Characters,
    pub title: Characters,
    pub title_words: Field,
    pub body_words: Field,
    /// Author, school, keywords and facets.
    pub other_words: Field,
    /// All runs of letters of all texts.
    pub letters: Field,
    /// How the title sounds, and how the author and the school do.
    pub title_sound: Field,
    pub other_sound: Field,
}

/// Names of the columns that suggestions are read from.
pub const KEY: &str = "key";
pub const SHOWN: &str = "shown";

/// Names of the columns that results are sorted by.
pub const CREATED: &str = "created_at";
pub const USES: &str = "uses";
pub const RATING: &str = "rating";

/// What is kept of a document to show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Card {
    pub key: Key,
    pub document: Document,
}

impl Fields {
    pub fn new() -> Self {
        let mut schema = Schema::builder();
        let [title_words, body_words, other_words] = ["title_words", "body_words", "other_words"]
            .map(|name| {
                schema.add_text_field(name, indexed(Cut::Words, IndexRecordOption::WithFreqs))
            });
        let all = characters(
            &mut schema,
            "all",
            [title_words, body_words, other_words].into(),
        );
        let title = characters(&mut schema, "title", vec![title_words]);
        let basic = |schema: &mut SchemaBuilder, name: &str, cut: Cut| {
            schema.add_text_field(name, indexed(cut, IndexRecordOption::Basic))
        };
        let letters = basic(&mut schema, "letters", Cut::Letters);
        let title_sound = basic(&mut schema, "title_sound", Cut::Pinyin);
        let other_sound = basic(&mut schema, "other_sound", Cut::Pinyin);
        let key = schema.add_text_field(KEY, STRING.set_fast("raw"));
        let circles = schema.add_text_field("circles", STRING);
        let mentions = schema.add_text_field("mentions", STRING);
        let card = schema.add_text_field("card", STORED);
        let shown = schema.add_text_field(SHOWN, TextOptions::default().set_fast("raw"));
        for facet in Facet::ALL {
            schema.add_text_field(facet.name(), TextOptions::default().set_fast("raw"));
        }
        let column = NumericOptions::default().set_fast();
        schema.add_i64_field(CREATED, column.clone());
        schema.add_u64_field(USES, column.clone());
        schema.add_f64_field(RATING, column);
        Self {
            schema: schema.build(),
            key,
            card,
            shown,
            circles,
            mentions,
            all,
            title,
            title_words,
            body_words,
            other_words,
            letters,
            title_sound,
            other_sound,
        }
    }

    /// Teaches an index how to cut.
    pub fn register(index: &Index) {
        for cut in Cut::ALL {
            index.tokenizers().register(cut.name(), cut);
        }
    }

    pub fn key_term(&self, key: &Key) -> Term {
        Term::from_field_text(self.key, &key.to_string())
    }

    /// A document as tantivy takes it. Every column gets a value: a column without holes is read several times faster.
    pub fn lay_out(&self, key: &Key, document: &Document) -> TantivyDocument {
        let document = bounded(document);
        let mut laid = TantivyDocument::default();
        laid.add_text(self.key, key.to_string());
        document
            .visibility
            .iter()
            .for_each(|circle| laid.add_text(self.circles, circle.word()));
        [document.author_id, document.school_id]
            .into_iter()
            .flatten()
            .for_each(|id| laid.add_text(self.mentions, id.to_string()));
        let facets = all_facets(key, &document);
        for facet in Facet::ALL {
            let column = self
                .schema
                .get_field(facet.name())
                .expect("every facet has a column");
            laid.add_text(column, facets.get(&facet).map_or("", String::as_str));
        }
        self.add_texts(&mut laid, &document);
        let column = |name| self.schema.get_field(name).expect("a column of ours");
        laid.add_i64(column(CREATED), document.created_at);
        laid.add_u64(column(USES), document.uses);
        laid.add_f64(column(RATING), document.rating);
        let card = Card {
            key: key.clone(),
            document,
        };
        laid.add_text(
            self.card,
            serde_json::to_string(&card).expect("a card is plain data"),
        );
        laid
    }

    fn add_texts(&self, laid: &mut TantivyDocument, document: &Document) {
        laid.add_text(self.shown, &document.title);
        let title = fold(&document.title);
        for field in [
            self.title.singles,
            self.title.pairs,
            self.title.triples,
            self.title_sound,
        ] {
            laid.add_text(field, &title);
        }
        let mut add = |words: Field, text: &str| {
            let text = fold(text);
            for field in [
                words,
                self.all.singles,
                self.all.pairs,
                self.all.triples,
                self.letters,
            ] {
                laid.add_text(field, &text);
            }
        };
        add(self.title_words, &document.title);
        std::iter::once(&document.body)
            .chain(&document.pages)
            .filter(|text| !text.is_empty())
            .for_each(|text| add(self.body_words, text));
        let people = [&document.author, &document.school].into_iter().flatten();
        let others = people
            .clone()
            .chain(&document.keywords)
            .chain(document.facets.values());
        others.for_each(|text| add(self.other_words, text));
        people.for_each(|text| laid.add_text(self.other_sound, fold(text)));
    }

    /// The card of a stored document.
    pub fn card(&self, stored: &TantivyDocument) -> Option<Card> {
        serde_json::from_str(stored.get_first(self.card)?.as_str()?).ok()
    }
}

fn characters(schema: &mut SchemaBuilder, name: &str, words: Vec<Field>) -> Characters {
    let mut field = |cut: Cut, option| {
        schema.add_text_field(&format!("{name}_{}", cut.name()), indexed(cut, option))
    };
    Characters {
        singles: field(Cut::Singles, IndexRecordOption::WithFreqs),
        pairs: field(Cut::Pairs, IndexRecordOption::WithFreqs),
        triples: field(Cut::Triples, IndexRecordOption::WithFreqsAndPositions),
        words,
    }
}

fn indexed(cut: Cut, option: IndexRecordOption) -> TextOptions {
    let with_lengths = option != IndexRecordOption::Basic;
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(cut.name())
        .set_index_option(option)
        .set_fieldnorms(with_lengths);
    TextOptions::default().set_indexing_options(indexing)
}

/// The facets with those that the index knows by itself.
pub fn all_facets(key: &Key, document: &Document) -> BTreeMap<Facet, String> {
    let mut facets = document.facets.clone();
    facets.insert(Facet::Kind, key.kind.clone());
    facets.extend(
        document
            .school
            .clone()
            .map(|school| (Facet::School, school)),
    );
    facets
}

/// The document with no more text than is indexed.
fn bounded(document: &Document) -> Document {
    let mut left = MOST_CHARS;
    let mut take = |text: &str| {
        let taken: String = text.chars().take(left).collect();
        left -= taken.chars().count();
        taken
    };
    let body = take(&document.body);
    let pages = document.pages.iter().map(|page| take(page)).collect();
    Document {
        body,
        pages,
        ..document.clone()
    }
}
