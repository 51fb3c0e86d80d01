//! Property test: the invariants of a lesson hold for any sequence of inputs. Seeded; a failure
//! prints its seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::tests::{Class, apply, deck};
use super::*;

const PARTICIPANTS: [(&str, Role); 7] = [
    ("wang", Role::Lead),
    ("luboshi", Role::LeadRoom),
    ("li", Role::Assistant),
    ("liulin", Role::Listening),
    ("shiqiao", Role::Listening),
    ("dashu", Role::Listening),
    ("zhao", Role::Observer),
];

/// Client's copy of the lesson: the welcome's document with every later message applied.
struct Mirror {
    document: LessonDocument,
    revision: u64,
    token: String,
}

#[test]
fn clients_that_apply_every_message_hold_the_document() {
    for seed in 0..60 {
        let result = std::panic::catch_unwind(|| run_random_inputs(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

fn run_random_inputs(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut class = Class::empty();
    let mut clients: BTreeMap<Conn, Mirror> = BTreeMap::new();
    for _ in 0..300 {
        one_input(&mut rng, &mut class, &mut clients);
        deliver(&mut class, &mut clients);
        check(&class, &clients);
    }
}

fn one_input(rng: &mut StdRng, class: &mut Class, clients: &mut BTreeMap<Conn, Mirror>) {
    let (id, role) = *PARTICIPANTS.choose(rng).unwrap();
    let other = PARTICIPANTS.choose(rng).unwrap().0;
    let now = class.now;
    let open = clients.keys().copied().collect::<Vec<_>>();
    // Rejected inputs are included: they must change nothing.
    match rng.random_range(0..21) {
        0 | 1 => {
            let _ = class.enter_again(id, role, None);
        }
        2 => {
            let token = clients.values().next().map(|p| p.token.clone());
            let _ = class.enter_again(id, role, token.as_deref());
        }
        3 => {
            if let Some(&conn) = open.choose(rng) {
                clients.remove(&conn);
                class.lesson.disconnected(conn, now.instant);
            }
        }
        4 => class.pass(Duration::from_millis(rng.random_range(0..6_000))),
        5 => class.publish(id, Purpose::Camera),
        6 => class.publish(id, Purpose::Screen),
        7 => class.unpublish(id, Purpose::Camera),
        8 => drop(class.lesson.hand(id, rng.random(), now)),
        9 | 10 => drop(class.lesson.call_on(id, other)),
        11 => drop(class.lesson.send_back(id, other)),
        12 => drop(class.lesson.mute_other(id, other)),
        13 => drop(class.lesson.send_chat(id, "听得到吗", now)),
        14 => drop(class.lesson.mute(id, rng.random(), rng.random())),
        15 => class
            .lesson
            .add_player(PeerId(rng.random_range(0..4)), "大屏".into()),
        16 => class.lesson.remove_player(PeerId(rng.random_range(0..4))),
        17 => drop(class.lesson.show_deck(id, deck(rng.random_range(0..4)))),
        18 => drop(class.lesson.turn_page(id, rng.random_range(0..4))),
        19 => drop(class.lesson.hide_deck(id)),
        _ => drop(class.lesson.start(id, now)),
    }
}

fn deliver(class: &mut Class, clients: &mut BTreeMap<Conn, Mirror>) {
    while let Some(effect) = class.lesson.poll_effect() {
        match effect {
            Effect::Send { conn, message } => {
                let ServerMessage::Welcome {
                    resume,
                    revision,
                    lesson,
                    ..
                } = *message
                else {
                    continue;
                };
                clients.insert(
                    conn,
                    Mirror {
                        document: lesson,
                        revision,
                        token: resume,
                    },
                );
            }
            Effect::Broadcast { message, except } => {
                let others = clients
                    .iter_mut()
                    .filter(|(conn, _)| Some(**conn) != except);
                others.for_each(|(_, client)| {
                    apply(&mut client.document, &mut client.revision, &message)
                });
            }
            Effect::Close { conn, .. } => drop(clients.remove(&conn)),
            Effect::DropMedia { .. } | Effect::PhaseChanged { .. } | Effect::AppendTimeline(_) => {}
        }
    }
}

fn check(class: &Class, clients: &BTreeMap<Conn, Mirror>) {
    let mut truth = class.lesson.document(class.now);
    truth.at_ms = None;
    for client in clients.values() {
        let seen = LessonDocument {
            at_ms: None,
            ..client.document.clone()
        };
        assert_eq!(seen, truth);
        assert_eq!(client.revision, class.lesson.revision);
    }
    assert!(truth.on_stage.len() <= class.lesson.limits.stage);
    assert!(
        truth
            .on_stage
            .iter()
            .all(|id| truth.participants.iter().any(|p| p.id == *id)),
        "only participants are on stage"
    );
    for member in class.lesson.members() {
        let wants = crate::live::policy::wanted(&class.lesson, member);
        assert!(
            wants
                .iter()
                .all(|w| w.source.participant != member.public.id),
            "no participant receives its own tracks"
        );
        assert!(wants.is_sorted_by_key(|w| w.priority));
        assert_eq!(member.conn.is_some(), member.public.present);
    }
}
