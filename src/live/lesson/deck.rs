//! Shown deck: one deck at a time, at one page, the same for all clients. Clients prefetch the page
//! images, so turning a page is one small message.

use super::{Lesson, LessonError};
use crate::bus::{TimelineDeck, TimelineEntry};
use crate::live::protocol::{Phase, Role, ServerMessage, ShownDeck};

impl Lesson {
    /// Shows a deck, or another page of it, to all clients. Lead and assistants only.
    pub fn show_deck(&mut self, by: &str, deck: ShownDeck) -> Result<(), LessonError> {
        self.may_show(by)?;
        check_page(deck.page, deck.pages)?;
        if self.deck.as_ref() != Some(&deck) {
            self.set_deck(Some(deck));
        }
        Ok(())
    }

    /// Turns the shown deck to a page, counted from 1.
    pub fn turn_page(&mut self, by: &str, page: u32) -> Result<(), LessonError> {
        self.may_show(by)?;
        let deck = self.deck.as_mut().ok_or(LessonError::NoDeck)?;
        check_page(page, deck.pages)?;
        if deck.page != page {
            deck.page = page;
            self.append_timeline(TimelineEntry::Page { page });
            self.announce(None, |revision| ServerMessage::Page { revision, page });
        }
        Ok(())
    }

    /// Hides the deck.
    pub fn hide_deck(&mut self, by: &str) -> Result<(), LessonError> {
        self.may_show(by)?;
        if self.deck.is_some() {
            self.set_deck(None);
        }
        Ok(())
    }

    /// Appends the shown deck to the timeline; also when the lesson starts with a deck already
    /// shown.
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
        self.announce(None, |revision| ServerMessage::Deck { revision, deck });
    }

    fn may_show(&self, by: &str) -> Result<(), LessonError> {
        let role = self
            .member(by)
            .ok_or(LessonError::NoSuchParticipant)?
            .public
            .role;
        match (role, self.phase) {
            (_, Phase::Ended) => Err(LessonError::Ended),
            (Role::Lead | Role::Assistant, _) => Ok(()),
            _ => Err(LessonError::NotAllowed),
        }
    }
}

fn check_page(page: u32, pages: u32) -> Result<(), LessonError> {
    if (1..=pages).contains(&page) {
        Ok(())
    } else {
        Err(LessonError::NoSuchPage)
    }
}
