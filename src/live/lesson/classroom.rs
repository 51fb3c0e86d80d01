//! What happens in class: hands, stage, switches, chat, beginning and end. Every rule about who may do what is here.

use super::{CHAT_KEPT, Conn, Effect, Lesson, Member, Now, Refusal};
use crate::bus::{TimelineChat, TimelineEntry};
use crate::live::protocol::{
    ByeReason, ChatLine, ParticipantId, Phase, Purpose, RecordingState, Role, ToPage,
};

/// Characters in a line of chat (protocol).
const CHAT_CHARS: usize = 500;

impl Lesson {
    /// Whether a participant may publish for a purpose: an observer shows nothing, and a listening room shares no screen.
    pub fn may_publish(&self, id: &str, purpose: Purpose) -> Result<(), Refusal> {
        let allowed = match self.role(id)? {
            Role::Lead | Role::LeadRoom | Role::Assistant => true,
            Role::Listening => purpose == Purpose::Camera,
            Role::Observer => false,
        };
        allow(allowed && self.phase != Phase::Ended)
    }

    /// The participant's own switches. Turning one's own microphone on again also lifts what [`Lesson::mute_other`] did.
    pub fn mute(&mut self, id: &str, microphone: bool, camera: bool) -> Result<(), Refusal> {
        let at = self.position(id).ok_or(Refusal::NoSuchParticipant)?;
        let public = &mut self.members[at].public;
        allow(public.role != Role::Observer)?;
        if (public.microphone, public.camera) != (microphone, camera) {
            (public.microphone, public.camera) = (microphone, camera);
            self.announce_changed(at, None);
        }
        Ok(())
    }

    /// A hand goes up or down. The lead's side has no need of one, an observer no say.
    pub fn hand(&mut self, id: &str, raised: bool, now: Now) -> Result<(), Refusal> {
        allow(matches!(self.role(id)?, Role::Listening | Role::Assistant))?;
        self.set_hand(id, raised.then(|| self.at_ms(now)));
        Ok(())
    }

    /// Calls a listening room or an assistant to the stage. Its hand goes down: it has been heard.
    pub fn call_on(&mut self, by: &str, id: &str) -> Result<(), Refusal> {
        allow(matches!(self.role(by)?, Role::Lead | Role::Assistant))?;
        let role = self.role(id)?;
        if !matches!(role, Role::Listening | Role::Assistant) {
            return Err(Refusal::NotForTheStage);
        }
        if self.on_stage.iter().any(|p| p == id) {
            return Ok(());
        }
        if self.on_stage.len() >= self.limits.stage {
            return Err(Refusal::StageFull);
        }
        self.on_stage.push(id.to_owned());
        self.announce_stage(None);
        self.set_hand(id, None);
        Ok(())
    }

    /// Sends a participant back to its seat; everybody may send itself.
    pub fn send_back(&mut self, by: &str, id: &str) -> Result<(), Refusal> {
        let role = self.role(by)?;
        allow(by == id || matches!(role, Role::Lead | Role::Assistant))?;
        self.role(id)?;
        self.leave_stage(id);
        Ok(())
    }

    /// Turns another's microphone off, everywhere at once. The lead's own can only be turned off by the lead.
    pub fn mute_other(&mut self, by: &str, id: &str) -> Result<(), Refusal> {
        allow(matches!(self.role(by)?, Role::Lead | Role::Assistant))?;
        allow(by == id || self.role(id)? != Role::Lead)?;
        let camera = self
            .member(id)
            .ok_or(Refusal::NoSuchParticipant)?
            .public
            .camera;
        if self.role(id)? == Role::Observer {
            return Ok(());
        }
        self.mute(id, false, camera)
    }

    /// A line of chat.
    pub fn say(&mut self, id: &str, text: &str, now: Now) -> Result<(), Refusal> {
        let member = self.member(id).ok_or(Refusal::NoSuchParticipant)?;
        let text = text.trim();
        if text.is_empty() || text.chars().count() > CHAT_CHARS {
            return Err(Refusal::ChatLength);
        }
        let name = member.public.name.clone();
        let line = ChatLine {
            participant: id.to_owned(),
            name,
            at_ms: self.at_ms(now),
            text: text.to_owned(),
        };
        // Its own time too: by that, pages know a line again after a restart of the server.
        self.append_timeline(TimelineEntry::Chat(TimelineChat {
            at_ms: Some(line.at_ms),
            id: line.participant.clone(),
            name: line.name.clone(),
            text: line.text.clone(),
        }));
        self.chat.push_back(line.clone());
        if self.chat.len() > CHAT_KEPT {
            self.chat.pop_front();
        }
        self.announce(None, |revision| ToPage::Chat { revision, line });
        Ok(())
    }

    /// The lead begins the lesson.
    pub fn start(&mut self, by: &str, now: Now) -> Result<(), Refusal> {
        allow(self.role(by)? == Role::Lead)?;
        match self.phase {
            Phase::Planned => self.begin(now),
            Phase::Live => return Err(Refusal::AlreadyStarted),
            Phase::Ended => return Err(Refusal::Ended),
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
        self.announce(None, |revision| ToPage::Phase {
            revision,
            phase: Phase::Live,
            at: now.wall.to_string(),
        });
    }

    /// The lead ends the lesson.
    pub fn end(&mut self, by: &str, now: Now) -> Result<(), Refusal> {
        allow(self.role(by)? == Role::Lead)?;
        match self.phase {
            Phase::Planned => Err(Refusal::NotStarted),
            Phase::Ended => Err(Refusal::Ended),
            Phase::Live => {
                self.finish(now);
                Ok(())
            }
        }
    }

    /// The lesson is over: by the lead, because nobody has been here for long (then it was over when the last one left), or because the
    /// server stops.
    pub fn finish(&mut self, now: Now) {
        self.phase = Phase::Ended;
        self.effects.push_back(Effect::PhaseChanged {
            phase: Phase::Ended,
            at: now.wall,
        });
        self.announce(None, |revision| ToPage::Phase {
            revision,
            phase: Phase::Ended,
            at: now.wall.to_string(),
        });
        self.dismiss_all(ByeReason::Ended);
    }

    /// Everybody goes; the lesson's phase stays as it is.
    pub fn dismiss_all(&mut self, reason: ByeReason) {
        for member in std::mem::take(&mut self.members) {
            self.effects.push_back(Effect::DropMedia {
                participant: member.public.id,
            });
            if let Some(conn) = member.conn {
                self.effects.push_back(Effect::Dismiss { conn, reason });
            }
        }
        self.on_stage.clear();
    }

    /// What the recorder says of itself.
    pub fn set_recording(&mut self, state: RecordingState) {
        if self.recording != state {
            self.recording = state;
            self.announce(None, |revision| ToPage::Recording { revision, state });
        }
    }

    /// Takes a participant off the stage, if it is there.
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
        self.announce(except, |revision| ToPage::Stage { revision, on_stage });
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

    fn role(&self, id: &str) -> Result<Role, Refusal> {
        self.member(id)
            .map(|m| m.public.role)
            .ok_or(Refusal::NoSuchParticipant)
    }
}

fn allow(yes: bool) -> Result<(), Refusal> {
    if yes {
        Ok(())
    } else {
        Err(Refusal::NotAllowed)
    }
}
