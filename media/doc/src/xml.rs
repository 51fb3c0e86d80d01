//! Streaming parser for one XML part: no recursion, bounded depth, no document type declaration, no
//! entities but the five predefined ones.

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::error::Error;
use crate::limits::XML_DEPTH;

/// Receiver of parse events in document order. Names are local names, without prefix.
pub trait Visitor {
    /// Start tag, or the start of an empty element.
    fn start(&mut self, name: &str, attributes: &Attributes);
    /// End tag, or the end of an empty element.
    fn end(&mut self, name: &str);
    /// Character data, a CDATA section or a resolved reference.
    fn text(&mut self, text: &str);
}

/// Attributes of one element.
pub struct Attributes<'a>(&'a BytesStart<'a>);

impl Attributes<'_> {
    /// Returns the value of the first attribute with this local name.
    pub fn get(&self, name: &str) -> Option<String> {
        self.find(|key| key.local_name().as_ref() == name)
    }

    /// Returns the value of the attribute with this prefixed name: `r:id` differs from `id`.
    pub fn get_prefixed(&self, name: &str) -> Option<String> {
        self.find(|key| key.as_ref() == name)
    }

    fn find(&self, matches: impl Fn(quick_xml::name::QName) -> bool) -> Option<String> {
        let attribute = self
            .0
            .attributes()
            .with_checks(false)
            .flatten()
            .find(|attribute| matches(attribute.key))?;
        attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .ok()
            .map(Cow::into_owned)
    }
}

/// Parses a whole part.
pub fn walk(part: &[u8], visitor: &mut impl Visitor) -> Result<(), Error> {
    let text = decode(part);
    let mut reader = Reader::from_str(&text);
    let mut depth = 0;
    loop {
        match reader.read_event().map_err(Error::broken)? {
            Event::Start(element) => {
                depth += 1;
                if depth > XML_DEPTH {
                    return Err(Error::Hostile("XML that nests without end"));
                }
                visitor.start(element.local_name().as_ref(), &Attributes(&element));
            }
            Event::Empty(element) => {
                visitor.start(element.local_name().as_ref(), &Attributes(&element));
                visitor.end(element.local_name().as_ref());
            }
            Event::End(element) => {
                depth -= 1;
                visitor.end(element.local_name().as_ref());
            }
            Event::Text(text) => visitor.text(&text.xml10_content()),
            Event::CData(text) => visitor.text(&text.xml10_content()),
            Event::GeneralRef(reference) => visitor.text(&resolve(&reference)),
            Event::DocType(_) => return Err(Error::Hostile("a document type declaration")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if depth > 0 => return Err(Error::Broken("its XML ends too early".into())),
            Event::Eof => return Ok(()),
        }
    }
}

/// Decodes UTF-8, or UTF-16 with a byte order mark: office packages allow no other encoding
/// (ECMA-376-2 §8.1.4).
fn decode(part: &[u8]) -> Cow<'_, str> {
    match part {
        [0xff, 0xfe, rest @ ..] => UTF_16LE.decode_without_bom_handling(rest).0,
        [0xfe, 0xff, rest @ ..] => UTF_16BE.decode_without_bom_handling(rest).0,
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        plain => String::from_utf8_lossy(plain),
    }
}

/// Text of a character or entity reference; empty if the entity is unknown.
fn resolve(reference: &BytesRef) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    quick_xml::escape::resolve_predefined_entity(reference)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Events(String);

    impl Visitor for Events {
        fn start(&mut self, name: &str, attributes: &Attributes) {
            self.0 += &format!("<{name} {}>", attributes.get("val").unwrap_or_default());
        }
        fn end(&mut self, name: &str) {
            self.0 += &format!("</{name}>");
        }
        fn text(&mut self, text: &str) {
            self.0 += text;
        }
    }

    fn events(part: &[u8]) -> Result<String, Error> {
        let mut events = Events::default();
        walk(part, &mut events).map(|()| events.0)
    }

    #[test]
    fn names_lose_their_prefix_and_references_are_resolved() {
        let part = "<w:p xmlns:w='x'><w:s w:val='A&amp;B'/>勾股&lt;&#x5B9A;</w:p>".as_bytes();
        assert_eq!(events(part).expect("read"), "<p ><s A&B></s>勾股<定</p>");
    }

    #[test]
    fn utf_16_with_a_byte_order_mark_is_decoded() {
        let part: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("<p>课</p>".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(events(&part).expect("read"), "<p >课</p>");
    }

    #[test]
    fn entities_and_excessive_depth_are_rejected() {
        let laughs = b"<!DOCTYPE x [<!ENTITY a 'ha'>]><x>&a;</x>";
        assert_eq!(events(laughs).expect_err("rejected").code(), "hostile");
        assert_eq!(
            events("<a>".repeat(300).as_bytes())
                .expect_err("rejected")
                .code(),
            "hostile"
        );
        assert_eq!(
            events(b"<a><b></b>").expect_err("rejected").code(),
            "broken"
        );
    }
}
