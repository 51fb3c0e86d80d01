//! Reads one XML part event by event: no recursion, bounded depth, no document type declaration, no entity but the five of XML.

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE};
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::error::Error;
use crate::limits::XML_DEPTH;

/// Hears what a part says, in order. Names come without their namespace prefix.
pub trait Visitor {
    fn start(&mut self, name: &str, attributes: &Attributes);
    fn end(&mut self, name: &str);
    fn text(&mut self, text: &str);
}

/// The attributes of one element.
pub struct Attributes<'a>(&'a BytesStart<'a>);

impl Attributes<'_> {
    /// The value of the first attribute of this local name.
    pub fn get(&self, name: &str) -> Option<String> {
        self.find(|key| key.local_name().as_ref() == name)
    }

    /// The value of the attribute of this name with its prefix: `r:id` and `id` are different things.
    pub fn get_prefixed(&self, name: &str) -> Option<String> {
        self.find(|key| key.as_ref() == name)
    }

    fn find(&self, is_it: impl Fn(quick_xml::name::QName) -> bool) -> Option<String> {
        let attribute = self
            .0
            .attributes()
            .with_checks(false)
            .flatten()
            .find(|attribute| is_it(attribute.key))?;
        attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .ok()
            .map(Cow::into_owned)
    }
}

/// Reads a whole part.
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

/// UTF-8, or UTF-16 that says so: nothing else is allowed in office packages (ECMA-376-2 §8.1.4).
fn decode(part: &[u8]) -> Cow<'_, str> {
    match part {
        [0xff, 0xfe, rest @ ..] => UTF_16LE.decode_without_bom_handling(rest).0,
        [0xfe, 0xff, rest @ ..] => UTF_16BE.decode_without_bom_handling(rest).0,
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        plain => String::from_utf8_lossy(plain),
    }
}

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
    struct Said(String);

    impl Visitor for Said {
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

    fn said(part: &[u8]) -> Result<String, Error> {
        let mut said = Said::default();
        walk(part, &mut said).map(|()| said.0)
    }

    #[test]
    fn names_lose_their_prefix_and_entities_become_letters() {
        let part = "<w:p xmlns:w='x'><w:s w:val='A&amp;B'/>勾股&lt;&#x5B9A;</w:p>".as_bytes();
        assert_eq!(said(part).expect("read"), "<p ><s A&B></s>勾股<定</p>");
    }

    #[test]
    fn utf_16_is_read() {
        let part: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain("<p>课</p>".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        assert_eq!(said(&part).expect("read"), "<p >课</p>");
    }

    #[test]
    fn what_only_an_attack_needs_is_refused() {
        let laughs = b"<!DOCTYPE x [<!ENTITY a 'ha'>]><x>&a;</x>";
        assert_eq!(said(laughs).expect_err("refused").code(), "hostile");
        assert_eq!(
            said("<a>".repeat(300).as_bytes())
                .expect_err("refused")
                .code(),
            "hostile"
        );
        assert_eq!(said(b"<a><b></b>").expect_err("refused").code(), "broken");
    }
}
