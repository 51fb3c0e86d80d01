//! Text of an HTML file. Nothing is executed or fetched. No tree is built, so nesting costs no
//! memory.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer,
};

use crate::content::{Content, single_line};

/// Reads text, title, author and headings.
pub fn read(page: &str, content: &mut Content) {
    let sink = Sink(RefCell::new(State {
        content,
        skip_depth: 0,
        heading: None,
        title: None,
    }));
    let tokenizer = Tokenizer::new(sink, Default::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(page));
    // The tokenizer returns after each script so that a browser could run it.
    while !queue.is_empty() {
        let _ = tokenizer.feed(&queue);
    }
    tokenizer.end();
}

struct Sink<'a>(RefCell<State<'a>>);

struct State<'a> {
    content: &'a mut Content,
    /// Number of open elements without visible text.
    skip_depth: usize,
    heading: Option<(usize, String)>,
    title: Option<String>,
}

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut state = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return state.start(&tag),
            Token::TagToken(tag) => state.end(&tag.name),
            Token::CharacterTokens(text) => state.text(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl State<'_> {
    fn start(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        match name {
            "script" => {
                self.skip_depth += 1;
                return TokenSinkResult::RawData(RawKind::ScriptData);
            }
            "style" => {
                self.skip_depth += 1;
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            "title" => {
                self.title = Some(String::new());
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "meta" => self.meta(tag),
            "td" | "th" => self.content.text.push("\t"),
            _ => {}
        }
        if let Some(level) = heading_level(name) {
            self.heading = Some((level, String::new()));
        }
        if is_block(name) {
            self.content.text.end_line();
        }
        TokenSinkResult::Continue
    }

    fn meta(&mut self, tag: &Tag) {
        let value = |name: &str| {
            tag.attrs
                .iter()
                .find(|attribute| &*attribute.name.local == name)
                .map(|found| &*found.value)
        };
        if value("name").is_some_and(|name| name.eq_ignore_ascii_case("author")) {
            self.content.author = value("content").and_then(single_line);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "script" | "style" => self.skip_depth = self.skip_depth.saturating_sub(1),
            "title" => self.content.title = self.title.take().as_deref().and_then(single_line),
            _ => {}
        }
        if heading_level(name).is_some()
            && let Some((level, text)) = self.heading.take()
        {
            self.content.push_heading(level, &text, None);
        }
        if is_block(name) {
            self.content.text.end_line();
        }
    }

    fn text(&mut self, text: &str) {
        if self.skip_depth > 0 {
            return;
        }
        if let Some(title) = &mut self.title {
            return title.push_str(text);
        }
        if let Some((_, heading)) = &mut self.heading {
            heading.push_str(text);
        }
        // Line breaks in the source are spaces; white space alone is indentation of the source.
        if !text.trim().is_empty() {
            self.content.text.push(&text.replace(['\n', '\r'], " "));
        }
    }
}

fn heading_level(name: &str) -> Option<usize> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(usize::from(level - b'0')),
        _ => None,
    }
}

fn is_block(name: &str) -> bool {
    const BLOCKS: &[&str] = &[
        "p",
        "div",
        "br",
        "li",
        "tr",
        "table",
        "ul",
        "ol",
        "section",
        "article",
        "header",
        "footer",
        "blockquote",
        "pre",
        "dt",
        "dd",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "figure",
        "figcaption",
    ];
    BLOCKS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_yields_its_text_and_not_its_scripts() {
        let page = "<html><head><title>春 &amp; 夏</title><meta name=author content='李老师'><script>alert('<p>坏</p>')</script><style>p{}</style></head>\
                    <body><h1>四<b>季</b></h1>\n<p>春天\n来了</p><div><div><p>夏天</p></div></div></body></html>";
        let mut content = Content::default();
        read(page, &mut content);
        assert_eq!(content.title.as_deref(), Some("春 & 夏"));
        assert_eq!(content.author.as_deref(), Some("李老师"));
        assert_eq!(content.outline[0].text, "四季");
        assert_eq!(content.text.as_str(), "四季\n\n春天 来了\n\n夏天");
    }

    #[test]
    fn an_unclosed_script_ends_with_the_file() {
        let mut content = Content::default();
        read("<p>前</p><script>never closed", &mut content);
        assert_eq!(content.text.as_str(), "前");
    }
}
