//! Tests of the lesson, and a small class as their fixture.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tongke_plane::Priority;
use tongke_plane::ids::{PeerId, TrackId};

use super::*;
use crate::bus::{TimelineDeck, TimelineEvent};
use crate::live::policy;
use crate::live::protocol::Tile;

/// Lesson with its own clock.
pub(crate) struct Class {
    pub lesson: Lesson,
    pub now: Now,
    next_conn: u64,
    next_track: u64,
}

fn written(effect: Effect) -> Option<TimelineEvent> {
    let Effect::AppendTimeline(entry) = effect else {
        return None;
    };
    Some(TimelineEvent { at_ms: 0, entry })
}

impl Class {
    pub fn empty() -> Class {
        let now = Now {
            instant: Instant::now(),
            wall: "2026-11-23T02:00:00Z".parse::<Timestamp>().unwrap(),
        };
        let limits = Limits {
            stage: 2,
            participants: 40,
        };
        Class {
            lesson: Lesson::new("l1".into(), "分数的意义".into(), None, limits),
            now,
            next_conn: 0,
            next_track: 0,
        }
    }

    /// Teacher Wang and the rooms of Liulin and Shiqiao, all with camera and microphone.
    pub fn of_two_rooms() -> Class {
        let mut class = Class::empty();
        class.enter("wang", Role::Lead);
        class.enter("liulin", Role::Listening);
        class.enter("shiqiao", Role::Listening);
        for id in ["wang", "liulin", "shiqiao"] {
            class.publish(id, Purpose::Camera);
        }
        class.drain();
        class
    }

    /// Restarts the server: only the recorded timeline survives.
    pub fn restarted(mut self) -> Class {
        let past: Vec<TimelineEvent> = self.drain().into_iter().filter_map(written).collect();
        let (limits, started) = (self.lesson.limits, self.lesson.started);
        let mut lesson = Lesson::new("l1".into(), "分数的意义".into(), started, limits);
        lesson.restore(&past, self.now);
        Class { lesson, ..self }
    }

    pub fn pass(&mut self, span: Duration) {
        self.now.instant += span;
        self.now.wall += span;
        self.lesson.handle_timeout(self.now.instant);
    }

    pub fn enter(&mut self, id: &str, role: Role) -> Conn {
        self.enter_again(id, role, None)
            .expect("the test's client may join")
            .0
    }

    pub fn enter_again(
        &mut self,
        id: &str,
        role: Role,
        resume: Option<&str>,
    ) -> Result<(Conn, JoinOutcome), LessonError> {
        self.next_conn += 1;
        let conn = Conn(self.next_conn);
        let kind = if matches!(role, Role::Listening | Role::LeadRoom) {
            ParticipantKind::Classroom
        } else {
            ParticipantKind::Person
        };
        let who = Identity {
            id: id.into(),
            name: id.into(),
            school: None,
            role,
            kind,
        };
        let entry = self
            .lesson
            .join(who, conn, format!("token-{}", conn.0), resume, self.now)?;
        Ok((conn, entry))
    }

    pub fn publish(&mut self, id: &str, purpose: Purpose) {
        self.next_track += 2;
        let tracks = [
            (MediaKind::Audio, TrackId(self.next_track)),
            (MediaKind::Video, TrackId(self.next_track + 1)),
        ];
        self.lesson.set_tracks(id, purpose, &tracks);
    }

    pub fn unpublish(&mut self, id: &str, purpose: Purpose) {
        self.lesson.set_tracks(id, purpose, &[]);
    }

    pub fn view(&mut self, id: &str, tiles: &[(&str, u16)]) {
        let tile = |&(p, height): &(&str, u16)| Tile {
            participant: p.into(),
            purpose: Purpose::Camera,
            height,
        };
        self.lesson
            .view(id, tiles.iter().map(tile).collect())
            .unwrap();
    }

    /// Returns "owner priority height" of every video track a participant receives.
    pub fn seen_by(&self, id: &str) -> Vec<String> {
        let name = |priority| match priority {
            Priority::Audio => "audio",
            Priority::Screen => "screen",
            Priority::LeadVideo => "lead",
            Priority::Stage => "stage",
            Priority::Wall => "wall",
        };
        let line = |w: policy::Want| {
            let height = w.max_height.map_or("-".into(), |h| h.to_string());
            format!("{} {} {height}", w.source.participant, name(w.priority))
        };
        self.wanted(id)
            .into_iter()
            .filter(|w| w.source.kind == MediaKind::Video)
            .map(line)
            .collect()
    }

    /// Returns the owners of every audio track a participant receives.
    pub fn heard_by(&self, id: &str) -> Vec<String> {
        let audio = |w: &policy::Want| w.source.kind == MediaKind::Audio;
        self.wanted(id)
            .into_iter()
            .filter(audio)
            .map(|w| w.source.participant)
            .collect()
    }

    fn wanted(&self, id: &str) -> Vec<policy::Want> {
        policy::wanted(
            &self.lesson,
            self.lesson
                .member(id)
                .expect("the test's participant is here"),
        )
    }

    pub fn drain(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.lesson.poll_effect()).collect()
    }
}

/// Deck of three pages, shown at `page`.
pub(crate) fn deck(page: u32) -> ShownDeck {
    ShownDeck {
        id: "d7".into(),
        title: "分数的意义".into(),
        pages: 3,
        page,
    }
}

/// Applies a message to the document as a client does.
pub(crate) fn apply(document: &mut LessonDocument, revision: &mut u64, message: &ServerMessage) {
    let Some(next) = revision_of(message) else {
        return;
    };
    assert_eq!(next, *revision + 1, "revisions grow by one per change");
    *revision = next;
    match message.clone() {
        ServerMessage::Joined { participant, .. } => document.participants.push(participant),
        ServerMessage::Changed { participant, .. } => {
            let place = document
                .participants
                .iter_mut()
                .find(|p| p.id == participant.id);
            *place.expect("a change is of somebody who joined") = participant;
        }
        ServerMessage::Left { participant, .. } => {
            document.participants.retain(|p| p.id != participant)
        }
        ServerMessage::Stage { on_stage, .. } => document.on_stage = on_stage,
        ServerMessage::Deck { deck, .. } => document.deck = deck,
        ServerMessage::Page { page, .. } => {
            document
                .deck
                .as_mut()
                .expect("a turn is of a deck that is shown")
                .page = page
        }
        ServerMessage::Phase { phase, at, .. } => {
            document.phase = phase;
            if phase == Phase::Live {
                document.started_at = Some(at);
            }
        }
        ServerMessage::Recording { state, .. } => document.recording = state,
        ServerMessage::Chat { line, .. } => {
            document.chat.push(line);
            let too_many = document.chat.len().saturating_sub(CHAT_CAPACITY);
            document.chat.drain(..too_many);
        }
        ServerMessage::Players { players, .. } => document.players = players,
        other => panic!("{other:?} has a revision and is not applied"),
    }
}

/// Returns the revision of a message that changes the document; a welcome contains the document
/// itself.
fn revision_of(message: &ServerMessage) -> Option<u64> {
    let json = serde_json::to_value(message).expect("a message of ours is plain data");
    json["revision"]
        .as_u64()
        .filter(|_| json["type"] != "welcome")
}

fn has(effects: &[Effect], test: impl Fn(&Effect) -> bool) -> bool {
    effects.iter().any(test)
}

#[test]
fn a_room_raises_its_hand_is_called_on_and_goes_back_to_its_seat() {
    let mut class = Class::of_two_rooms();
    class.lesson.start("wang", class.now).unwrap();
    class.pass(Duration::from_secs(90));
    class.lesson.hand("liulin", true, class.now).unwrap();
    assert_eq!(
        class.lesson.member("liulin").unwrap().public.hand_at_ms,
        Some(90_000)
    );
    class.lesson.call_on("wang", "liulin").unwrap();
    assert_eq!(class.lesson.on_stage(), ["liulin"]);
    assert!(
        !class.lesson.member("liulin").unwrap().public.hand,
        "being called on lowers the hand"
    );
    class.lesson.send_back("liulin", "liulin").unwrap();
    assert_eq!(class.lesson.on_stage(), [""; 0]);
}

#[test]
fn the_stage_has_a_capacity() {
    let mut class = Class::of_two_rooms();
    class.enter("dashu", Role::Listening);
    class.lesson.call_on("wang", "liulin").unwrap();
    class.lesson.call_on("wang", "shiqiao").unwrap();
    assert_eq!(
        class.lesson.call_on("wang", "dashu"),
        Err(LessonError::StageFull)
    );
    assert_eq!(
        class.lesson.call_on("wang", "liulin"),
        Ok(()),
        "calling twice is no error"
    );
}

#[test]
fn only_the_lead_and_the_assistant_call_on_and_only_the_lead_begins_and_ends() {
    let mut class = Class::of_two_rooms();
    class.enter("li", Role::Assistant);
    class.enter("zhao", Role::Observer);
    for id in ["liulin", "zhao"] {
        assert_eq!(
            class.lesson.call_on(id, "shiqiao"),
            Err(LessonError::NotAllowed)
        );
        assert_eq!(
            class.lesson.mute_other(id, "shiqiao"),
            Err(LessonError::NotAllowed)
        );
    }
    for id in ["li", "liulin", "zhao"] {
        assert_eq!(
            class.lesson.start(id, class.now),
            Err(LessonError::NotAllowed)
        );
    }
    assert_eq!(class.lesson.call_on("li", "shiqiao"), Ok(()));
    assert_eq!(
        class.lesson.mute_other("li", "wang"),
        Err(LessonError::NotAllowed)
    );
    assert_eq!(
        class.lesson.may_publish("zhao", Purpose::Camera),
        Err(LessonError::NotAllowed)
    );
    assert_eq!(
        class.lesson.may_publish("liulin", Purpose::Screen),
        Err(LessonError::NotAllowed)
    );
    assert_eq!(
        class.lesson.hand("zhao", true, class.now),
        Err(LessonError::NotAllowed)
    );
    assert_eq!(
        class.lesson.call_on("wang", "zhao"),
        Err(LessonError::NotForTheStage)
    );
    assert_eq!(
        class.lesson.call_on("wang", "nobody"),
        Err(LessonError::NoSuchParticipant)
    );
}

#[test]
fn a_room_whose_link_fails_for_seven_seconds_keeps_its_place_on_stage() {
    let mut class = Class::of_two_rooms();
    class.lesson.call_on("wang", "liulin").unwrap();
    let conn = class.lesson.member("liulin").unwrap().conn.unwrap();
    class.lesson.disconnected(conn, class.now.instant);
    assert!(!class.lesson.member("liulin").unwrap().public.present);
    class.pass(Duration::from_secs(7));
    class.drain();
    let token = format!("token-{}", conn.0);
    let (_, entry) = class
        .enter_again("liulin", Role::Listening, Some(&token))
        .unwrap();
    assert_eq!(entry, JoinOutcome::Resumed);
    assert_eq!(class.lesson.on_stage(), ["liulin"]);
    assert!(
        !has(&class.drain(), |e| matches!(e, Effect::DropMedia { .. })),
        "its media connections stay open"
    );
}

#[test]
fn a_room_that_vanishes_leaves_no_ghost_after_ten_seconds() {
    let mut class = Class::of_two_rooms();
    class.lesson.call_on("wang", "liulin").unwrap();
    let conn = class.lesson.member("liulin").unwrap().conn.unwrap();
    let last_seen = class.now.instant;
    // The timeout closes the socket six seconds after the room was last seen; the grace counts from
    // there.
    class.pass(Duration::from_secs(6));
    class.lesson.disconnected(conn, last_seen);
    class.pass(Duration::from_millis(3_900));
    assert!(class.lesson.member("liulin").is_some());
    class.drain();
    class.pass(Duration::from_millis(100));
    assert!(class.lesson.member("liulin").is_none());
    assert_eq!(class.lesson.on_stage(), [""; 0]);
    assert!(has(
        &class.drain(),
        |e| matches!(e, Effect::DropMedia { participant } if participant == "liulin")
    ));
}

#[test]
fn a_second_client_of_the_same_teacher_replaces_the_first() {
    let mut class = Class::of_two_rooms();
    let first = class.lesson.member("wang").unwrap().conn.unwrap();
    let (second, entry) = class.enter_again("wang", Role::Lead, None).unwrap();
    assert_eq!(entry, JoinOutcome::Fresh);
    let effects = class.drain();
    assert!(has(&effects, |e| *e
        == Effect::Close {
            conn: first,
            reason: CloseReason::Replaced
        }));
    assert!(has(
        &effects,
        |e| matches!(e, Effect::DropMedia { participant } if participant == "wang")
    ));
    assert_eq!(class.lesson.by_conn(second).unwrap().public.id, "wang");
    class.lesson.disconnected(first, class.now.instant);
    assert!(
        class.lesson.member("wang").unwrap().public.present,
        "the end of the old socket does not affect the new client"
    );
}

#[test]
fn the_timeline_begins_with_the_lesson_and_lists_the_participants() {
    let mut class = Class::of_two_rooms();
    class.lesson.send_chat("wang", "大家好", class.now).unwrap();
    assert!(
        !has(&class.drain(), |e| matches!(e, Effect::AppendTimeline(_))),
        "before the bell nothing is recorded"
    );
    class.lesson.start("wang", class.now).unwrap();
    let started = class.drain().into_iter().find_map(|e| match e {
        Effect::AppendTimeline(TimelineEntry::Started { participants, .. }) => Some(participants),
        _ => None,
    });
    assert_eq!(started.expect("the start is on the timeline").len(), 3);
    class.lesson.end("wang", class.now).unwrap();
    let over = Effect::PhaseChanged {
        phase: Phase::Ended,
        at: class.now.wall,
    };
    assert!(has(&class.drain(), |e| *e == over));
    assert_eq!(
        class.enter_again("wang", Role::Lead, None).unwrap_err(),
        LessonError::Ended
    );
}

#[test]
fn the_lead_turns_pages_and_a_late_client_joins_on_the_same_page() {
    let mut class = Class::of_two_rooms();
    class.enter("li", Role::Assistant);
    assert_eq!(class.lesson.turn_page("wang", 1), Err(LessonError::NoDeck));
    assert_eq!(
        class.lesson.show_deck("liulin", deck(1)),
        Err(LessonError::NotAllowed)
    );
    assert_eq!(
        class.lesson.show_deck("wang", deck(4)),
        Err(LessonError::NoSuchPage)
    );
    class.lesson.show_deck("wang", deck(1)).unwrap();
    class.lesson.start("wang", class.now).unwrap();
    let shown = TimelineEntry::Deck(TimelineDeck::Shown {
        deck: "d7".into(),
        page: 1,
        pages: 3,
        title: "分数的意义".into(),
    });
    assert!(
        class.drain().contains(&Effect::AppendTimeline(shown)),
        "the recording begins with the shown deck"
    );
    class.lesson.turn_page("wang", 3).unwrap();
    assert_eq!(
        class.lesson.turn_page("wang", 4),
        Err(LessonError::NoSuchPage)
    );
    assert_eq!(
        class.lesson.turn_page("shiqiao", 2),
        Err(LessonError::NotAllowed)
    );
    let turned = TimelineEntry::Page { page: 3 };
    assert!(class.drain().contains(&Effect::AppendTimeline(turned)));
    class.lesson.turn_page("li", 3).unwrap();
    assert_eq!(
        class.drain(),
        [],
        "turning to the shown page changes nothing"
    );
    class.enter("dashu", Role::Listening);
    assert_eq!(class.lesson.document(class.now).deck, Some(deck(3)));
    class.lesson.hide_deck("li").unwrap();
    let hidden = TimelineEntry::Deck(TimelineDeck::Hidden { deck: () });
    assert!(class.drain().contains(&Effect::AppendTimeline(hidden)));
    assert_eq!(class.lesson.document(class.now).deck, None);
}

#[test]
fn after_a_server_restart_stage_deck_and_chat_are_restored() {
    let mut class = Class::of_two_rooms();
    class.lesson.start("wang", class.now).unwrap();
    class.lesson.show_deck("wang", deck(1)).unwrap();
    class.lesson.turn_page("wang", 3).unwrap();
    class.pass(Duration::from_secs(3));
    class
        .lesson
        .send_chat("liulin", "听得很清楚", class.now)
        .unwrap();
    class.lesson.call_on("wang", "liulin").unwrap();
    class.lesson.call_on("wang", "shiqiao").unwrap();
    let before = class.lesson.document(class.now);
    let mut again = class.restarted();
    assert_eq!(
        again.lesson.document(again.now).started_at,
        before.started_at
    );
    assert_eq!(again.lesson.document(again.now).chat, before.chat);
    assert_eq!(again.lesson.document(again.now).deck, Some(deck(3)));
    assert!(
        again.lesson.on_stage().is_empty(),
        "no participant has rejoined yet"
    );
    again.enter("wang", Role::Lead);
    again.drain();
    let liulin = again.enter("liulin", Role::Listening);
    assert_eq!(again.lesson.on_stage(), ["liulin"]);
    let effects = again.drain();
    let stage = |e: &Effect| matches!(e, Effect::Broadcast { message, except } if matches!(**message, ServerMessage::Stage { .. }) && *except == Some(liulin));
    assert!(
        has(&effects, stage),
        "its own client learns it from its welcome: {effects:?}"
    );
    again.pass(Duration::from_secs(61));
    again.enter("shiqiao", Role::Listening);
    assert_eq!(
        again.lesson.on_stage(),
        ["liulin"],
        "a participant that returns after a minute has lost its place"
    );
    again.lesson.send_back("wang", "liulin").unwrap();
    again.lesson.leave("liulin");
    again.enter("liulin", Role::Listening);
    assert!(
        again.lesson.on_stage().is_empty(),
        "a place is reserved once"
    );
}

#[test]
fn a_chat_message_is_limited_in_characters_not_bytes() {
    let mut class = Class::of_two_rooms();
    assert_eq!(
        class
            .lesson
            .send_chat("liulin", &"好".repeat(500), class.now),
        Ok(())
    );
    assert_eq!(
        class
            .lesson
            .send_chat("liulin", &"好".repeat(501), class.now),
        Err(LessonError::ChatLength)
    );
    assert_eq!(
        class.lesson.send_chat("liulin", "  ", class.now),
        Err(LessonError::ChatLength)
    );
}

#[test]
fn players_are_listed_while_connected_and_are_no_participants() {
    let mut class = Class::of_two_rooms();
    class.lesson.add_player(PeerId(7), "录播主机".into());
    class.lesson.add_player(PeerId(8), "校门口大屏".into());
    assert_eq!(
        class.lesson.document(class.now).players,
        ["录播主机", "校门口大屏"]
    );
    assert_eq!(class.lesson.members().len(), 3);
    class.lesson.remove_player(PeerId(7));
    let sent = |e: &Effect| matches!(e, Effect::Broadcast { message, .. } if matches!(&**message, ServerMessage::Players { players, .. } if *players == ["校门口大屏"]));
    assert!(has(&class.drain(), sent));
}

#[test]
fn an_encoder_leaves_when_its_connection_ends() {
    let mut class = Class::of_two_rooms();
    let who = Identity {
        id: "enc".into(),
        name: "录播主机".into(),
        school: None,
        role: Role::LeadRoom,
        kind: ParticipantKind::Encoder,
    };
    class.lesson.join_encoder(who).unwrap();
    class.publish("enc", Purpose::Camera);
    assert_eq!(class.seen_by("liulin"), ["wang lead -", "enc lead -"]);
    class.pass(Duration::from_secs(60));
    assert!(
        class.lesson.member("enc").is_some(),
        "it has no socket to lose"
    );
    class.lesson.leave("enc");
    assert_eq!(class.seen_by("liulin"), ["wang lead -"]);
}
