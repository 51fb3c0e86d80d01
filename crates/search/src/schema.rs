//! Index schema and the mapping of documents to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, STORED, STRING, Schema, SchemaBuilder,
    TantivyDocument, TextFieldIndexing, TextOptions, Value,
};
use tantivy::{Index, Term};

use crate::document::{Document, Facet, Key};
use crate::text::fold;
use crate::tokenizer::Analyzer;

/// Version of the schema, the tokenization and the folding. An index of another version is rebuilt.
pub(crate) const FORMAT_VERSION: u32 = 3;

/// Maximum number of characters indexed per document, about a thick book; the rest is not
/// searchable.
pub(crate) const MAX_INDEXED_CHARS: usize = 500_000;

/// N-gram fields of one set of texts.
#[derive(Clone, Debug)]
pub(crate) struct NgramFields {
    pub unigrams: Field,
    pub bigrams: Field,
    /// With positions, for phrases of more than three characters.
    pub trigrams: Field,
    /// Word fields of the same texts; a match there saves the position check.
    pub words: Vec<Field>,
}

/// All fields. Names inside the index are historical; changing one would require a rebuild.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub schema: Schema,
    /// [`Key`] as text.
    pub key: Field,
    /// [`StoredDocument`] as JSON.
    pub stored: Field,
    /// Title as written; suggestions read it and the key only.
    pub stored_title: Field,
    /// Terms of the [`AclGroup`](crate::AclGroup)s.
    pub groups: Field,
    /// Ids of the author and the school; their renaming changes this document too.
    pub references: Field,
    /// All texts. Matching uses this one set; the other fields are for ranking and suggestions.
    pub all: NgramFields,
    pub title: NgramFields,
    pub title_words: Field,
    pub body_words: Field,
    /// Words of author, school, keywords and facets.
    pub other_words: Field,
    /// Runs of letters and digits of all texts, for fuzzy search.
    pub letters: Field,
    /// Pinyin of the title, and of author and school.
    pub title_pinyin: Field,
    pub other_pinyin: Field,
}

/// Columns that suggestions read.
pub(crate) const KEY: &str = "key";
pub(crate) const TITLE: &str = "shown";

/// Columns that results are sorted by.
pub(crate) const CREATED: &str = "created_at";
pub(crate) const USES: &str = "uses";
pub(crate) const RATING: &str = "rating";

/// Stored form of a document, for displaying results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredDocument {
    pub key: Key,
    pub document: Document,
}

impl Fields {
    pub(crate) fn new() -> Self {
        let mut schema = Schema::builder();
        let [title_words, body_words, other_words] = ["title_words", "body_words", "other_words"]
            .map(|name| {
                schema.add_text_field(
                    name,
                    text_options(Analyzer::Words, IndexRecordOption::WithFreqs),
                )
            });
        let all = ngram_fields(
            &mut schema,
            "all",
            [title_words, body_words, other_words].into(),
        );
        let title = ngram_fields(&mut schema, "title", vec![title_words]);
        let basic = |schema: &mut SchemaBuilder, name: &str, analyzer: Analyzer| {
            schema.add_text_field(name, text_options(analyzer, IndexRecordOption::Basic))
        };
        let letters = basic(&mut schema, "letters", Analyzer::AlphanumericRuns);
        let title_pinyin = basic(&mut schema, "title_sound", Analyzer::Pinyin);
        let other_pinyin = basic(&mut schema, "other_sound", Analyzer::Pinyin);
        let key = schema.add_text_field(KEY, STRING.set_fast("raw"));
        let groups = schema.add_text_field("circles", STRING);
        let references = schema.add_text_field("mentions", STRING);
        let stored = schema.add_text_field("card", STORED);
        let stored_title = schema.add_text_field(TITLE, TextOptions::default().set_fast("raw"));
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
            stored,
            stored_title,
            groups,
            references,
            all,
            title,
            title_words,
            body_words,
            other_words,
            letters,
            title_pinyin,
            other_pinyin,
        }
    }

    /// Registers the analyzers with an index.
    pub(crate) fn register_tokenizers(index: &Index) {
        for analyzer in Analyzer::ALL {
            index.tokenizers().register(analyzer.name(), analyzer);
        }
    }

    pub(crate) fn key_term(&self, key: &Key) -> Term {
        Term::from_field_text(self.key, &key.to_string())
    }

    /// Converts a document. Every column gets a value, as tantivy reads a full column several times
    /// faster.
    pub(crate) fn to_tantivy(&self, key: &Key, document: &Document) -> TantivyDocument {
        let document = truncated(document);
        let mut fields = TantivyDocument::default();
        fields.add_text(self.key, key.to_string());
        document
            .acl
            .iter()
            .for_each(|group| fields.add_text(self.groups, group.term()));
        [document.author_id, document.school_id]
            .into_iter()
            .flatten()
            .for_each(|id| fields.add_text(self.references, id.to_string()));
        let facets = all_facets(key, &document);
        for facet in Facet::ALL {
            let column = self
                .schema
                .get_field(facet.name())
                .expect("every facet has a column");
            fields.add_text(column, facets.get(&facet).map_or("", String::as_str));
        }
        self.add_texts(&mut fields, &document);
        let column = |name| {
            self.schema
                .get_field(name)
                .expect("the schema has this column")
        };
        fields.add_i64(column(CREATED), document.created_at);
        fields.add_u64(column(USES), document.uses);
        fields.add_f64(column(RATING), document.rating);
        let stored = StoredDocument {
            key: key.clone(),
            document,
        };
        fields.add_text(
            self.stored,
            serde_json::to_string(&stored).expect("a stored document is plain data"),
        );
        fields
    }

    fn add_texts(&self, fields: &mut TantivyDocument, document: &Document) {
        fields.add_text(self.stored_title, &document.title);
        let title = fold(&document.title);
        for field in [
            self.title.unigrams,
            self.title.bigrams,
            self.title.trigrams,
            self.title_pinyin,
        ] {
            fields.add_text(field, &title);
        }
        let mut add = |words: Field, text: &str| {
            let text = fold(text);
            for field in [
                words,
                self.all.unigrams,
                self.all.bigrams,
                self.all.trigrams,
                self.letters,
            ] {
                fields.add_text(field, &text);
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
        people.for_each(|text| fields.add_text(self.other_pinyin, fold(text)));
    }

    /// Decodes the stored form; `None` if it is not valid.
    pub(crate) fn decode(&self, stored: &TantivyDocument) -> Option<StoredDocument> {
        serde_json::from_str(stored.get_first(self.stored)?.as_str()?).ok()
    }
}

fn ngram_fields(schema: &mut SchemaBuilder, name: &str, words: Vec<Field>) -> NgramFields {
    let mut field = |analyzer: Analyzer, option| {
        schema.add_text_field(
            &format!("{name}_{}", analyzer.name()),
            text_options(analyzer, option),
        )
    };
    NgramFields {
        unigrams: field(Analyzer::Unigrams, IndexRecordOption::WithFreqs),
        bigrams: field(Analyzer::Bigrams, IndexRecordOption::WithFreqs),
        trigrams: field(Analyzer::Trigrams, IndexRecordOption::WithFreqsAndPositions),
        words,
    }
}

fn text_options(analyzer: Analyzer, option: IndexRecordOption) -> TextOptions {
    let with_lengths = option != IndexRecordOption::Basic;
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(analyzer.name())
        .set_index_option(option)
        .set_fieldnorms(with_lengths);
    TextOptions::default().set_indexing_options(indexing)
}

/// Facets of the document, with those that the index derives.
pub(crate) fn all_facets(key: &Key, document: &Document) -> BTreeMap<Facet, String> {
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

/// Copy of the document with at most [`MAX_INDEXED_CHARS`] of text.
fn truncated(document: &Document) -> Document {
    let mut left = MAX_INDEXED_CHARS;
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
