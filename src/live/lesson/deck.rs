//! What is taught with: one deck at a time, one page of it, the same for everybody. The pictures of its pages are none of the lesson's
//! business; each page of a browser has them already, so that a turn is one small message.

use super::{Lesson, Refusal};
use crate::bus::{TimelineDeck, TimelineEntry};
use crate::live::protocol::{Phase, Role, ShownDeck, ToPage};

impl Lesson {
    /// The lead or an assistant shows a deck, or another page of the one that is shown, to everybody.
    pub fn show_deck(&mut self, by: &str, deck: ShownDeck) -> Result<(), Refusal> {
        self.may_show(by)?;
        check_page(deck.page, deck.pages)?;
        if self.deck.as_ref() != Some(&deck) {
            self.set_deck(Some(deck));
        }
        Ok(())
    }

    /// Turns to a page, counted from 1.
    pub fn turn_page(&mut self, by: &str, page: u32) -> Result<(), Refusal> {
        self.may_show(by)?;
        let deck = self.deck.as_mut().ok_or(Refusal::NoDeck)?;
        check_page(page, deck.pages)?;
        if deck.page != page {
            deck.page = page;
            self.append_timeline(TimelineEntry::Page { page });
            self.announce(None, |revision| ToPage::Page { revision, page });
        }
        Ok(())
    }

    /// The deck goes; what is shown is the lead again.
    pub fn hide_deck(&mut self, by: &str) -> Result<(), Refusal> {
        self.may_show(by)?;
        if self.deck.is_some() {
            self.set_deck(None);
        }
        Ok(())
    }

    /// What the timeline says of a deck; also when the bell rings over one that was laid open before.
    pub(super) fn note_deck(&mut self) {
        let change = match self.deck.clone() {
            Some(deck) => TimelineDeck::Shown {
                deck: deck.id,
                page: deck.page,
                pages: deck.pages,
                title: deck.title,
            },
            None => TimelineDeck::Hidden { deck: () },
        };
        self.append_timeline(TimelineEntry::Deck(change));
    }

    fn set_deck(&mut self, deck: Option<ShownDeck>) {
        self.deck = deck;
        self.note_deck();
        let deck = self.deck.clone();
        self.announce(None, |revision| ToPage::Deck { revision, deck });
    }

    fn may_show(&self, by: &str) -> Result<(), Refusal> {
        let role = self
            .member(by)
            .ok_or(Refusal::NoSuchParticipant)?
            .public
            .role;
        match (role, self.phase) {
            (_, Phase::Ended) => Err(Refusal::Ended),
            (Role::Lead | Role::Assistant, _) => Ok(()),
            _ => Err(Refusal::NotAllowed),
        }
    }
}

fn check_page(page: u32, pages: u32) -> Result<(), Refusal> {
    if (1..=pages).contains(&page) {
        Ok(())
    } else {
        Err(Refusal::NoSuchPage)
    }
}
