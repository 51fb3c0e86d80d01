//! The ICE-lite agent of one peer (RFC 8445 §2.5, §7.3): answers checks, keeps the paths that passed, follows nomination.

use std::time::Instant;

use rand::RngCore;

use super::path::Path;
use super::stun::{Request, StunError};
use crate::drop_reason::DropReason;

/// How many paths of a peer are kept: a laptop with Wi-Fi, cable, VPN and IPv6 checks about six.
const MAX_PATHS: usize = 8;

/// The username fragment and password of one side (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// Names the agent in a check's USERNAME. Ours is unique enough to find the peer by.
    pub ufrag: String,
    /// The key of MESSAGE-INTEGRITY.
    pub pwd: String,
}

impl IceCredentials {
    /// Draws fresh credentials: 96 bits of name (so that no two peers ever share one), 144 bits of password.
    pub fn random(rng: &mut impl RngCore) -> IceCredentials {
        IceCredentials {
            ufrag: random_ice_chars(rng, 16),
            pwd: random_ice_chars(rng, 24),
        }
    }
}

impl std::fmt::Debug for IceCredentials {
    /// Without the password: credentials end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// Six random bits per character of the ice-char alphabet (RFC 8839 §5.4).
fn random_ice_chars(rng: &mut impl RngCore, len: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
        .collect()
}

/// Both sides' credentials between two ICE restarts.
struct Generation {
    local: IceCredentials,
    /// Unknown until the peer's answer arrives.
    remote_ufrag: Option<String>,
}

struct KnownPath {
    path: Path,
    last_check: Instant,
}

/// What a check led to, beyond its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathEvent {
    /// A path passed its first check.
    Opened(Path),
    /// A path fell out of the list; the peer no longer lives there.
    Forgotten(Path),
    /// Media goes here now.
    Selected(Path),
    /// The credentials before an ICE restart, by their ufrag, are no longer valid.
    Retired(String),
}

/// A check's fate: what to answer, what changed, or why it was refused.
pub(super) struct Checked {
    pub(super) answer: Option<Vec<u8>>,
    pub(super) events: Vec<PathEvent>,
    pub(super) result: Result<(), DropReason>,
}

pub(super) struct Agent {
    current: Generation,
    /// Valid until the first valid check with the current credentials (RFC 8445 §9).
    previous: Option<Generation>,
    paths: Vec<KnownPath>,
    selected: Option<Path>,
    nominated: bool,
    last_check: Option<Instant>,
}

impl Agent {
    pub(super) fn new(local: IceCredentials) -> Agent {
        Agent {
            current: Generation {
                local,
                remote_ufrag: None,
            },
            previous: None,
            paths: Vec::new(),
            selected: None,
            nominated: false,
            last_check: None,
        }
    }

    pub(super) fn local(&self) -> &IceCredentials {
        &self.current.local
    }

    pub(super) fn set_remote_ufrag(&mut self, ufrag: String) {
        self.current.remote_ufrag = Some(ufrag);
    }

    pub(super) fn restart(&mut self, local: IceCredentials) -> Option<PathEvent> {
        let old = std::mem::replace(
            &mut self.current,
            Generation {
                local,
                remote_ufrag: None,
            },
        );
        if self.previous.is_none() {
            self.previous = Some(old);
            return None;
        }
        // A second restart before anyone used the first: the generation that is really in use stays.
        Some(PathEvent::Retired(old.local.ufrag))
    }

    pub(super) fn selected(&self) -> Option<Path> {
        self.selected
    }

    pub(super) fn has_path(&self, path: Path) -> bool {
        self.paths.iter().any(|known| known.path == path)
    }

    /// When the latest valid check came.
    pub(super) fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// Handles one STUN datagram.
    pub(super) fn check(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Checked {
        let request = match Request::parse(datagram) {
            Ok(request) => request,
            Err(reason) => {
                return Checked {
                    answer: None,
                    events: Vec::new(),
                    result: Err(reason),
                };
            }
        };
        match self.authenticate(&request) {
            Ok(generation) => self.accept(now, path, &request, generation),
            Err((reason, error, pwd)) => Checked {
                answer: Some(request.error(error, pwd)),
                events: Vec::new(),
                result: Err(reason),
            },
        }
    }

    /// RFC 8489 §9.1.3 and §6.3.1, in their order: complete, known, authentic, understood; then RFC 8445 §7.3.1.1: the role.
    fn authenticate(
        &self,
        request: &Request<'_>,
    ) -> Result<Era, (DropReason, StunError, Option<&str>)> {
        let Some((ours, theirs)) = request.username.filter(|_| request.has_integrity()) else {
            return Err((DropReason::StunIncomplete, StunError::BadRequest, None));
        };
        let Some((era, generation)) = self.find(ours, theirs) else {
            return Err((
                DropReason::StunUnknownPeer,
                StunError::Unauthenticated,
                None,
            ));
        };
        let pwd = generation.local.pwd.as_str();
        if !request.is_made_with(pwd) {
            return Err((
                DropReason::StunBadIntegrity,
                StunError::Unauthenticated,
                None,
            ));
        }
        if !request.unknown.is_empty() {
            return Err((
                DropReason::StunUnknownAttribute,
                StunError::UnknownAttribute,
                Some(pwd),
            ));
        }
        if !request.has_priority {
            return Err((DropReason::StunIncomplete, StunError::BadRequest, Some(pwd)));
        }
        if request.is_controlled {
            return Err((
                DropReason::StunRoleConflict,
                StunError::RoleConflict,
                Some(pwd),
            ));
        }
        Ok(era)
    }

    fn find(&self, ours: &str, theirs: &str) -> Option<(Era, &Generation)> {
        let fits = |generation: &Generation| {
            generation.local.ufrag == ours
                && generation
                    .remote_ufrag
                    .as_deref()
                    .is_none_or(|ufrag| ufrag == theirs)
        };
        let previous = self
            .previous
            .as_ref()
            .map(|generation| (Era::Previous, generation));
        std::iter::once((Era::Current, &self.current))
            .chain(previous)
            .find(|(_, generation)| fits(generation))
    }

    fn accept(&mut self, now: Instant, path: Path, request: &Request<'_>, era: Era) -> Checked {
        let pwd = match (&self.previous, era) {
            (Some(previous), Era::Previous) => &previous.local.pwd,
            _ => &self.current.local.pwd,
        };
        let answer = request.success(path.remote, pwd);
        self.last_check = Some(now);
        let mut events = Vec::new();
        if era == Era::Current {
            events.extend(
                self.previous
                    .take()
                    .map(|previous| PathEvent::Retired(previous.local.ufrag)),
            );
        }
        self.remember(now, path, &mut events);
        self.follow(path, request.use_candidate, &mut events);
        Checked {
            answer: Some(answer),
            events,
            result: Ok(()),
        }
    }

    fn remember(&mut self, now: Instant, path: Path, events: &mut Vec<PathEvent>) {
        if let Some(known) = self.paths.iter_mut().find(|known| known.path == path) {
            known.last_check = now;
            return;
        }
        if self.paths.len() == MAX_PATHS {
            let idle =
                (0..self.paths.len()).filter(|at| Some(self.paths[*at].path) != self.selected);
            if let Some(oldest) = idle.min_by_key(|at| self.paths[*at].last_check) {
                events.push(PathEvent::Forgotten(self.paths.swap_remove(oldest).path));
            }
        }
        self.paths.push(KnownPath {
            path,
            last_check: now,
        });
        events.push(PathEvent::Opened(path));
    }

    /// The latest nomination wins. Browsers nominate towards a lite agent only the path they have selected (libwebrtc repeats
    /// USE-CANDIDATE in every check of it), so this follows a change of network with the very first check from the new one.
    /// Before any nomination the first path that passed a check carries the handshake.
    fn follow(&mut self, path: Path, use_candidate: bool, events: &mut Vec<PathEvent>) {
        let take = use_candidate || (self.selected.is_none() && !self.nominated);
        self.nominated |= use_candidate;
        if take && self.selected != Some(path) {
            self.selected = Some(path);
            events.push(PathEvent::Selected(path));
        }
    }
}

/// Which generation of credentials a check was made with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    Current,
    Previous,
}
