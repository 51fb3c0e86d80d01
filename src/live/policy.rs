//! Subscription policy: a pure function from the lesson to the wanted tracks of each viewer.
//!
//! A dual-teacher class 双师课堂 is one class in many rooms, not a conference; the rules follow from
//! that:
//!
//! - **A room sends audio only while it is on stage.** Thirty village classrooms with open
//!   microphones are noise. An assistant is audible in its own room, and to others only while on
//!   stage.
//! - **The rooms follow the lead's side**: cameras of the lead and the lead room, WHIP encoders (a
//!   document camera, a school's recording host), any shared screen, and all participants on stage.
//! - **The lead sees the wall**: every room's camera, small. A room on stage is larger.
//! - **Rooms do not watch each other.** A room sees another only while that is on stage. An
//!   assistant or an observer may open the wall (its client lists the tile); a listening room may
//!   not.
//! - **The lead's side does not receive its own audio.** Lead, lead room and encoder share one
//!   room: their microphones would feed back. They receive each other's video small, for framing.
//! - **No participant receives its own tracks**, and a source whose switch is off is sent to no
//!   one; this enforces muting.
//!
//! The rules also apply before the lesson begins, since schools check their links before class.
//! Priorities follow `tongke_plane::Priority`: audio > screen > lead video > stage > wall.

use std::collections::HashMap;

use tongke_plane::Priority;
use tongke_plane::ids::TrackId;

use super::lesson::{Lesson, Member, MemberTrack};
use super::protocol::{MediaKind, ParticipantId, ParticipantKind, Purpose, Role, TrackRef};

/// Default height of a wall tile: the lowest layer of a 720p simulcast camera.
pub const WALL_HEIGHT: u16 = 180;

/// Track that a viewer receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    pub source: TrackRef,
    pub track: TrackId,
    pub priority: Priority,
    /// Device pixels of its tile; `None` for as much as the bandwidth allows.
    pub max_height: Option<u16>,
}

/// Returns the tracks of one participant, highest priority first.
pub fn wanted(lesson: &Lesson, viewer: &Member) -> Vec<Want> {
    let view = Viewer {
        id: Some(&viewer.public.id),
        role: viewer.public.role,
        view: Some(&viewer.view),
    };
    collect(lesson, &view)
}

/// Returns the tracks of a WHEP player with `audio` and `video` m-lines: an observer's tracks, the
/// main ones first.
///
/// With one video m-line it is the shared screen while there is one, else the lead's camera.
pub fn wanted_by_player(lesson: &Lesson, audio: usize, video: usize) -> Vec<Want> {
    let view = Viewer {
        id: None,
        role: Role::Observer,
        view: None,
    };
    let all = collect(lesson, &view);
    let first = |kind, n| {
        all.iter()
            .filter(move |w| w.source.kind == kind)
            .take(n)
            .cloned()
            .collect::<Vec<_>>()
    };
    [
        first(MediaKind::Audio, audio),
        first(MediaKind::Video, video),
    ]
    .concat()
}

struct Viewer<'a> {
    id: Option<&'a ParticipantId>,
    role: Role,
    view: Option<&'a HashMap<(ParticipantId, Purpose), u16>>,
}

fn collect(lesson: &Lesson, viewer: &Viewer<'_>) -> Vec<Want> {
    let mut wants: Vec<Want> = lesson
        .members()
        .iter()
        .filter(|owner| Some(&owner.public.id) != viewer.id)
        .flat_map(|owner| {
            owner
                .tracks
                .iter()
                .filter_map(|track| want(lesson, viewer, owner, track))
        })
        .collect();
    // The sort is stable: within one priority the lead precedes its room and its encoders, then the
    // order of joining.
    wants.sort_by_key(|w| (w.priority, owner_rank(lesson, &w.source.participant)));
    wants
}

/// Returns the rank of an owner within one priority: the lead's own camera and audio come first.
fn owner_rank(lesson: &Lesson, owner: &str) -> u8 {
    match lesson.member(owner).map(|m| (m.public.role, m.public.kind)) {
        Some((Role::Lead, _)) => 0,
        Some((Role::LeadRoom, ParticipantKind::Encoder)) => 2,
        Some((Role::LeadRoom, _)) => 1,
        _ => 3,
    }
}

fn want(lesson: &Lesson, viewer: &Viewer<'_>, owner: &Member, track: &MemberTrack) -> Option<Want> {
    let on_stage = lesson.on_stage().contains(&owner.public.id);
    let source = TrackRef {
        participant: owner.public.id.clone(),
        purpose: track.purpose,
        kind: track.kind,
    };
    let (priority, default_height) = match (track.kind, track.purpose) {
        (MediaKind::Audio, purpose) => (audible(viewer, owner, purpose, on_stage)?, None),
        (MediaKind::Video, Purpose::Screen) => (Priority::Screen, None),
        (MediaKind::Video, Purpose::Camera) => visible(viewer, owner, on_stage)?,
    };
    let max_height = match (track.kind, requested_height(viewer, &source)) {
        (MediaKind::Video, Some(0)) => return None,
        (MediaKind::Video, Some(height)) => Some(height),
        _ => default_height,
    };
    Some(Want {
        source,
        track: track.track,
        priority,
        max_height,
    })
}

/// Returns the height that the viewer's client requests for this tile; 0 hides it.
fn requested_height(viewer: &Viewer<'_>, source: &TrackRef) -> Option<u16> {
    viewer
        .view?
        .get(&(source.participant.clone(), source.purpose))
        .copied()
}

fn audible(
    viewer: &Viewer<'_>,
    owner: &Member,
    purpose: Purpose,
    on_stage: bool,
) -> Option<Priority> {
    // The microphone switch does not affect the audio of a shared screen.
    let open = purpose == Purpose::Screen || owner.public.microphone;
    let same_room = lead_side(viewer.role) && lead_side(owner.public.role);
    let audible = on_stage || lead_side(owner.public.role) || purpose == Purpose::Screen;
    (open && audible && !same_room).then_some(Priority::Audio)
}

fn visible(viewer: &Viewer<'_>, owner: &Member, on_stage: bool) -> Option<(Priority, Option<u16>)> {
    if !owner.public.camera {
        return None;
    }
    let wall = (Priority::Wall, Some(WALL_HEIGHT));
    if lead_side(owner.public.role) {
        return Some(if lead_side(viewer.role) {
            wall
        } else {
            (Priority::LeadVideo, None)
        });
    }
    if on_stage {
        return Some((Priority::Stage, None));
    }
    let tile = TrackRef {
        participant: owner.public.id.clone(),
        purpose: Purpose::Camera,
        kind: MediaKind::Video,
    };
    let receives_wall = match viewer.role {
        Role::Lead | Role::LeadRoom => true,
        Role::Assistant | Role::Observer => requested_height(viewer, &tile).is_some(),
        Role::Listening => false,
    };
    receives_wall.then_some(wall)
}

fn lead_side(role: Role) -> bool {
    matches!(role, Role::Lead | Role::LeadRoom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::lesson::tests::Class;

    #[test]
    fn a_seated_room_is_visible_to_the_lead_alone_and_audible_to_nobody() {
        let class = Class::of_two_rooms();
        assert_eq!(
            class.seen_by("wang"),
            ["liulin wall 180", "shiqiao wall 180"]
        );
        assert_eq!(class.heard_by("wang"), [""; 0]);
        assert_eq!(class.seen_by("liulin"), ["wang lead -"]);
        assert_eq!(class.heard_by("liulin"), ["wang"]);
    }

    #[test]
    fn a_room_on_stage_is_visible_and_audible_to_everybody_but_itself() {
        let mut class = Class::of_two_rooms();
        class.lesson.call_on("wang", "liulin").unwrap();
        assert_eq!(
            class.seen_by("wang"),
            ["liulin stage -", "shiqiao wall 180"]
        );
        assert_eq!(class.heard_by("wang"), ["liulin"]);
        assert_eq!(class.seen_by("shiqiao"), ["wang lead -", "liulin stage -"]);
        assert_eq!(
            class.heard_by("shiqiao"),
            ["liulin", "wang"]
                .map(String::from)
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
        );
        assert_eq!(class.heard_by("liulin"), ["wang"]);
    }

    #[test]
    fn a_muted_microphone_goes_nowhere() {
        let mut class = Class::of_two_rooms();
        class.lesson.call_on("wang", "liulin").unwrap();
        class.lesson.mute_other("wang", "liulin").unwrap();
        assert_eq!(class.heard_by("shiqiao"), ["wang"]);
        assert_eq!(class.heard_by("wang"), [""; 0]);
        class.lesson.mute("liulin", true, true).unwrap();
        assert_eq!(class.heard_by("wang"), ["liulin"]);
    }

    #[test]
    fn the_clients_layout_decides_the_height_and_zero_hides() {
        let mut class = Class::of_two_rooms();
        class.view("wang", &[("liulin", 720), ("shiqiao", 0)]);
        assert_eq!(class.seen_by("wang"), ["liulin wall 720"]);
    }

    #[test]
    fn an_observer_may_open_the_wall_and_a_listening_room_may_not() {
        let mut class = Class::of_two_rooms();
        class.enter("zhao", Role::Observer);
        assert_eq!(class.seen_by("zhao"), ["wang lead -"]);
        class.view("zhao", &[("liulin", 180)]);
        assert_eq!(class.seen_by("zhao"), ["wang lead -", "liulin wall 180"]);
        class.view("shiqiao", &[("liulin", 180)]);
        assert_eq!(class.seen_by("shiqiao"), ["wang lead -"]);
    }

    #[test]
    fn lead_and_lead_room_never_receive_each_others_audio() {
        let mut class = Class::of_two_rooms();
        class.enter("luboshi", Role::LeadRoom);
        class.publish("luboshi", Purpose::Camera);
        assert_eq!(class.heard_by("wang"), [""; 0]);
        assert_eq!(class.heard_by("luboshi"), [""; 0]);
        assert_eq!(class.heard_by("liulin"), ["wang", "luboshi"]);
        assert_eq!(class.seen_by("liulin"), ["wang lead -", "luboshi lead -"]);
    }

    #[test]
    fn a_player_with_one_video_shows_the_screen_and_returns_to_the_lead() {
        let mut class = Class::of_two_rooms();
        let main = |class: &Class| {
            wanted_by_player(&class.lesson, 1, 1)
                .into_iter()
                .find(|w| w.source.kind == MediaKind::Video)
                .unwrap()
        };
        assert_eq!(main(&class).source.purpose, Purpose::Camera);
        class.publish("wang", Purpose::Screen);
        assert_eq!(main(&class).source.purpose, Purpose::Screen);
        class.unpublish("wang", Purpose::Screen);
        assert_eq!(main(&class).source.participant, "wang");
    }
}
