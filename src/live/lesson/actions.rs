//! Actions in class: hands, stage, switches, chat, start and end, with their permissions.

use super::{CHAT_CAPACITY, Conn, Effect, Lesson, LessonError, Member, Now};
use crate::bus::{TimelineChat, TimelineEntry};
use crate::live::protocol::{
    ChatMessage, CloseReason, ParticipantId, Phase, Purpose, RecorderStatus, Role, ServerMessage,
};

/// Longest chat message in characters (protocol).
const CHAT_CHARS: usize = 500;

impl Lesson {
    /// Checks the permission to publish: an observer publishes nothing, a listening room no screen.
    pub fn may_publish(&self, id: &str, purpose: Purpose) -> Result<(), LessonError> {
        let allowed = match self.role(id)? {
            Role::Lead | Role::LeadRoom | Role::Assistant => true,
            Role::Listening => purpose == Purpose::Camera,
            Role::Observer => false,
        };
        allow(allowed && self.phase != Phase::Ended)
    }

    /// Sets the participant's own switches. Switching the microphone on also undoes
    /// [`Lesson::mute_other`].
    pub fn mute(&mut self, id: &str, microphone: bool, camera: bool) -> Result<(), LessonError> {
        let at = self.position(id).ok_or(LessonError::NoSuchParticipant)?;
        let public = &mut self.members[at].public;
        allow(public.role != Role::Observer)?;
        if (public.microphone, public.camera) != (microphone, camera) {
            (public.microphone, public.camera) = (microphone, camera);
            self.announce_changed(at, None);
        }
        Ok(())
    }

    /// Raises or lowers a hand. Only listening rooms and assistants have one.
    pub fn hand(&mut self, id: &str, raised: bool, now: Now) -> Result<(), LessonError> {
        allow(matches!(self.role(id)?, Role::Listening | Role::Assistant))?;
        self.set_hand(id, raised.then(|| self.at_ms(now)));
        Ok(())
    }

    /// Calls a listening room or an assistant to the stage and lowers its hand.
    pub fn call_on(&mut self, by: &str, id: &str) -> Result<(), LessonError> {
        allow(matches!(self.role(by)?, Role::Lead | Role::Assistant))?;
        let role = self.role(id)?;
        if !matches!(role, Role::Listening | Role::Assistant) {
            return Err(LessonError::NotForTheStage);
        }
        if self.on_stage.iter().any(|p| p == id) {
            return Ok(());
        }
        if self.on_stage.len() >= self.limits.stage {
            return Err(LessonError::StageFull);
        }
        self.on_stage.push(id.to_owned());
        self.announce_stage(None);
        self.set_hand(id, None);
        Ok(())
    }

    /// Removes a participant from the stage; every participant may remove itself.
    pub fn send_back(&mut self, by: &str, id: &str) -> Result<(), LessonError> {
        let role = self.role(by)?;
        allow(by == id || matches!(role, Role::Lead | Role::Assistant))?;
        self.role(id)?;
        self.leave_stage(id);
        Ok(())
    }

    /// Switches another participant's microphone off. Only the lead may mute the lead.
    pub fn mute_other(&mut self, by: &str, id: &str) -> Result<(), LessonError> {
        allow(matches!(self.role(by)?, Role::Lead | Role::Assistant))?;
        allow(by == id || self.role(id)? != Role::Lead)?;
        let camera = self
            .member(id)
            .ok_or(LessonError::NoSuchParticipant)?
            .public
            .camera;
        if self.role(id)? == Role::Observer {
            return Ok(());
        }
        self.mute(id, false, camera)
    }

    /// Adds a chat message.
    pub fn send_chat(&mut self, id: &str, text: &str, now: Now) -> Result<(), LessonError> {
        let member = self.member(id).ok_or(LessonError::NoSuchParticipant)?;
        let text = text.trim();
        if text.is_empty() || text.chars().count() > CHAT_CHARS {
            return Err(LessonError::ChatLength);
        }
        let name = member.public.name.clone();
        let line = ChatMessage {
            participant: id.to_owned(),
            name,
            at_ms: self.at_ms(now),
            text: text.to_owned(),
        };
        // The broadcast time identifies the message to clients after a server restart.
        self.append_timeline(TimelineEntry::Chat(TimelineChat {
            at_ms: Some(line.at_ms),
            id: line.participant.clone(),
            name: line.name.clone(),
            text: line.text.clone(),
        }));
        self.chat.push_back(line.clone());
        if self.chat.len() > CHAT_CAPACITY {
            self.chat.pop_front();
        }
        self.announce(None, |revision| ServerMessage::Chat { revision, line });
        Ok(())
    }

    /// Starts the lesson, by the lead.
    pub fn start(&mut self, by: &str, now: Now) -> Result<(), LessonError> {
        allow(self.role(by)? == Role::Lead)?;
        match self.phase {
            Phase::Planned => self.begin(now),
            Phase::Live => return Err(LessonError::AlreadyStarted),
            Phase::Ended => return Err(LessonError::Ended),
        }
        Ok(())
    }

    fn begin(&mut self, now: Now) {
        self.phase = Phase::Live;
        self.started = Some(now.wall);
        self.effects.push_back(Effect::PhaseChanged {
            phase: Phase::Live,
            at: now.wall,
        });
        self.append_timeline(TimelineEntry::Started {
            on_stage: self.on_stage.clone(),
            participants: self
                .members
                .iter()
                .map(Member::timeline_participant)
                .collect(),
        });
        if self.deck.is_some() {
            self.note_deck();
        }
        self.announce(None, |revision| ServerMessage::Phase {
            revision,
            phase: Phase::Live,
            at: now.wall.to_string(),
        });
    }

    /// Ends the lesson, by the lead.
    pub fn end(&mut self, by: &str, now: Now) -> Result<(), LessonError> {
        allow(self.role(by)? == Role::Lead)?;
        match self.phase {
            Phase::Planned => Err(LessonError::NotStarted),
            Phase::Ended => Err(LessonError::Ended),
            Phase::Live => {
                self.finish(now);
                Ok(())
            }
        }
    }

    /// Ends the lesson: by the lead, by abandonment (as of the last departure) or by server
    /// shutdown.
    pub fn finish(&mut self, now: Now) {
        self.phase = Phase::Ended;
        self.effects.push_back(Effect::PhaseChanged {
            phase: Phase::Ended,
            at: now.wall,
        });
        self.announce(None, |revision| ServerMessage::Phase {
            revision,
            phase: Phase::Ended,
            at: now.wall.to_string(),
        });
        self.close_all(CloseReason::Ended);
    }

    /// Closes every client without changing the phase.
    pub fn close_all(&mut self, reason: CloseReason) {
        for member in std::mem::take(&mut self.members) {
            self.effects.push_back(Effect::DropMedia {
                participant: member.public.id,
            });
            if let Some(conn) = member.conn {
                self.effects.push_back(Effect::Close { conn, reason });
            }
        }
        self.on_stage.clear();
    }

    /// Sets the recorder's status.
    pub fn set_recording(&mut self, state: RecorderStatus) {
        if self.recording != state {
            self.recording = state;
            self.announce(None, |revision| ServerMessage::Recording {
                revision,
                state,
            });
        }
    }

    /// Removes a participant from the stage if it is there.
    pub(super) fn leave_stage(&mut self, id: &str) {
        let before = self.on_stage.len();
        self.on_stage.retain(|p| p != id);
        if self.on_stage.len() != before {
            self.announce_stage(None);
        }
    }

    pub(super) fn announce_stage(&mut self, except: Option<Conn>) {
        let on_stage: Vec<ParticipantId> = self.on_stage.clone();
        self.append_timeline(TimelineEntry::Stage {
            on_stage: on_stage.clone(),
        });
        self.announce(except, |revision| ServerMessage::Stage {
            revision,
            on_stage,
        });
    }

    fn set_hand(&mut self, id: &str, at_ms: Option<u64>) {
        let Some(at) = self.position(id) else { return };
        let public = &mut self.members[at].public;
        if public.hand == at_ms.is_some() {
            return;
        }
        public.hand = at_ms.is_some();
        public.hand_at_ms = at_ms;
        self.append_timeline(TimelineEntry::Hand {
            id: id.to_owned(),
            raised: at_ms.is_some(),
        });
        self.announce_changed(at, None);
    }

    fn role(&self, id: &str) -> Result<Role, LessonError> {
        self.member(id)
            .map(|m| m.public.role)
            .ok_or(LessonError::NoSuchParticipant)
    }
}

fn allow(yes: bool) -> Result<(), LessonError> {
    if yes {
        Ok(())
    } else {
        Err(LessonError::NotAllowed)
    }
}
