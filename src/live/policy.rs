//! Who receives what: a pure function from the lesson to each viewer's wanted tracks.
//!
//! A dual-teacher class 双师课堂 is one class in many rooms, not a conference, and these rules follow from it:
//!
//! - **A room is heard when it is on stage, and only then.** Thirty village classrooms with open microphones are noise. An assistant
//!   stands in its own room and is heard there; the others hear it when it is on stage.
//! - **The rooms follow the lead's side**: the lead's and the lead room's cameras, foreign encoders (a document camera, a school's
//!   recording host), any shared screen, and whoever is on stage.
//! - **The lead sees the wall**: every room's camera, small. A room that is on stage is seen larger.
//! - **Rooms do not watch each other.** A room is seen by another only while it is on stage. An assistant or an observer may open the
//!   wall (its page asks for a tile); a listening room may not.
//! - **The lead's side does not hear itself.** Lead, lead room and encoder stand in one room: their microphones would howl. They see each
//!   other small, for framing.
//! - **Nobody receives its own tracks**, and a source whose switch is off is sent to nobody: this is what enforces a mute.
//!
//! The rules hold before the lesson begins too, since schools check the line in the minutes before the bell.

use std::collections::HashMap;

use tongke_plane::ids::TrackId;

use super::lesson::{Lesson, Member, MemberTrack};
use super::protocol::{MediaKind, ParticipantId, ParticipantKind, Purpose, Role, Source};

/// Height of a wall tile for a page that has not said how large it shows it: the lowest layer of a 720p simulcast camera.
pub const WALL_HEIGHT: u16 = 180;

/// What must survive longest when a line runs short; the plane's allocator keeps this order (smallest first).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    Voice,
    Slides,
    LeadVideo,
    Stage,
    Wall,
}

/// One track that a viewer is to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    pub source: Source,
    pub track: TrackId,
    pub importance: Importance,
    /// Device pixels of its tile; `None`: as large as the line carries.
    pub max_height: Option<u16>,
}

/// All that one participant is to receive, most important first.
pub fn wanted(lesson: &Lesson, viewer: &Member) -> Vec<Want> {
    let view = Viewer {
        id: Some(&viewer.public.id),
        role: viewer.public.role,
        view: Some(&viewer.view),
    };
    collect(lesson, &view)
}

/// What a WHEP player that takes `audio` and `video` m-lines is to receive: an observer's share, the main picture first.
///
/// A player with one video m-line follows the lesson: the shared screen while there is one, else the lead's camera.
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
    // The sort is stable: within one importance the lead itself comes before its room and its encoders, then the order of joining.
    wants.sort_by_key(|w| (w.importance, seat(lesson, &w.source.participant)));
    wants
}

/// The lead's own camera and voice are the main ones, whoever came first.
fn seat(lesson: &Lesson, owner: &str) -> u8 {
    match lesson.member(owner).map(|m| (m.public.role, m.public.kind)) {
        Some((Role::Lead, _)) => 0,
        Some((Role::LeadRoom, ParticipantKind::Encoder)) => 2,
        Some((Role::LeadRoom, _)) => 1,
        _ => 3,
    }
}

fn want(lesson: &Lesson, viewer: &Viewer<'_>, owner: &Member, track: &MemberTrack) -> Option<Want> {
    let on_stage = lesson.on_stage().contains(&owner.public.id);
    let source = Source {
        participant: owner.public.id.clone(),
        purpose: track.purpose,
        kind: track.kind,
    };
    let (importance, default_height) = match (track.kind, track.purpose) {
        (MediaKind::Audio, purpose) => (audible(viewer, owner, purpose, on_stage)?, None),
        (MediaKind::Video, Purpose::Screen) => (Importance::Slides, None),
        (MediaKind::Video, Purpose::Camera) => visible(viewer, owner, on_stage)?,
    };
    let max_height = match (track.kind, asked(viewer, &source)) {
        (MediaKind::Video, Some(0)) => return None,
        (MediaKind::Video, Some(height)) => Some(height),
        _ => default_height,
    };
    Some(Want {
        source,
        track: track.track,
        importance,
        max_height,
    })
}

/// The height that the viewer's page asks for, if it spoke of this tile. 0: hidden.
fn asked(viewer: &Viewer<'_>, source: &Source) -> Option<u16> {
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
) -> Option<Importance> {
    // A screen's sound is what its picture plays; the microphone switch has no say in it.
    let open = purpose == Purpose::Screen || owner.public.microphone;
    let same_room = lead_side(viewer.role) && lead_side(owner.public.role);
    let heard = on_stage || lead_side(owner.public.role) || purpose == Purpose::Screen;
    (open && heard && !same_room).then_some(Importance::Voice)
}

fn visible(
    viewer: &Viewer<'_>,
    owner: &Member,
    on_stage: bool,
) -> Option<(Importance, Option<u16>)> {
    if !owner.public.camera {
        return None;
    }
    let wall = (Importance::Wall, Some(WALL_HEIGHT));
    if lead_side(owner.public.role) {
        return Some(if lead_side(viewer.role) {
            wall
        } else {
            (Importance::LeadVideo, None)
        });
    }
    if on_stage {
        return Some((Importance::Stage, None));
    }
    let tile = Source {
        participant: owner.public.id.clone(),
        purpose: Purpose::Camera,
        kind: MediaKind::Video,
    };
    let sees_the_wall = match viewer.role {
        Role::Lead | Role::LeadRoom => true,
        Role::Assistant | Role::Observer => asked(viewer, &tile).is_some(),
        Role::Listening => false,
    };
    sees_the_wall.then_some(wall)
}

fn lead_side(role: Role) -> bool {
    matches!(role, Role::Lead | Role::LeadRoom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::lesson::story::Class;

    #[test]
    fn a_room_in_its_seat_is_seen_by_the_lead_alone_and_heard_by_nobody() {
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
    fn a_room_on_stage_is_seen_and_heard_by_everybody_but_itself() {
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
    fn the_pages_layout_decides_the_height_and_zero_hides() {
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
    fn lead_and_lead_room_stand_in_one_room_and_never_hear_each_other() {
        let mut class = Class::of_two_rooms();
        class.enter("luboshi", Role::LeadRoom);
        class.publish("luboshi", Purpose::Camera);
        assert_eq!(class.heard_by("wang"), [""; 0]);
        assert_eq!(class.heard_by("luboshi"), [""; 0]);
        assert_eq!(class.heard_by("liulin"), ["wang", "luboshi"]);
        assert_eq!(class.seen_by("liulin"), ["wang lead -", "luboshi lead -"]);
    }

    #[test]
    fn a_player_with_one_picture_follows_the_screen_and_returns_to_the_lead() {
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
