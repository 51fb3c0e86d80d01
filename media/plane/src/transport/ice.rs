//! ICE-lite agent of one peer (RFC 8445 §2.5, §7.3): answers checks, stores the paths that passed,
//! follows nominations.

use std::time::Instant;

use rand::RngCore;

use super::path::Path;
use super::stun::{Request, StunError};
use crate::drop_reason::DropReason;

/// Maximum number of stored paths per peer: a laptop with Wi-Fi, cable, VPN and IPv6 checks about
/// six.
const MAX_PATHS: usize = 8;

/// Username fragment and password of one side (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// Identifies the agent in a check's USERNAME. The server's ufrags are unique and identify the
    /// peer.
    pub ufrag: String,
    /// The key of MESSAGE-INTEGRITY.
    pub pwd: String,
}

impl IceCredentials {
    /// Generates credentials: a ufrag of 96 bits, so that no two peers share one, and a password of
    /// 144 bits.
    pub fn random(rng: &mut impl RngCore) -> IceCredentials {
        IceCredentials {
            ufrag: random_ice_chars(rng, 16),
            pwd: random_ice_chars(rng, 24),
        }
    }
}

impl std::fmt::Debug for IceCredentials {
    /// Omits the password, because credentials are logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// Generates a string of the ice-char alphabet (RFC 8839 §5.4), six random bits per character.
fn random_ice_chars(rng: &mut impl RngCore, len: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
        .collect()
}

/// Credentials of both sides between two ICE restarts.
struct Generation {
    local: IceCredentials,
    /// None until the peer's answer arrives.
    remote_ufrag: Option<String>,
}

struct KnownPath {
    path: Path,
    last_check: Instant,
}

/// A state change caused by a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathEvent {
    /// A path passed its first check.
    Opened(Path),
    /// A path was evicted from the list.
    Forgotten(Path),
    /// Media is sent to this path from now on.
    Selected(Path),
    /// The credentials before an ICE restart, identified by their ufrag, are no longer valid.
    Retired(String),
}

/// Result of a check: the response, the state changes, and the error if it was rejected.
pub(super) struct Checked {
    pub(super) response: Option<Vec<u8>>,
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
        // A second restart before the first was used: the generation in use stays.
        Some(PathEvent::Retired(old.local.ufrag))
    }

    pub(super) fn selected(&self) -> Option<Path> {
        self.selected
    }

    pub(super) fn has_path(&self, path: Path) -> bool {
        self.paths.iter().any(|known| known.path == path)
    }

    /// Returns the time of the latest valid check.
    pub(super) fn last_check(&self) -> Option<Instant> {
        self.last_check
    }

    /// Handles one STUN datagram.
    pub(super) fn check(&mut self, now: Instant, path: Path, datagram: &[u8]) -> Checked {
        let request = match Request::parse(datagram) {
            Ok(request) => request,
            Err(reason) => {
                return Checked {
                    response: None,
                    events: Vec::new(),
                    result: Err(reason),
                };
            }
        };
        match self.authenticate(&request) {
            Ok(generation) => self.accept(now, path, &request, generation),
            Err((reason, error, pwd)) => Checked {
                response: Some(request.error(error, pwd)),
                events: Vec::new(),
                result: Err(reason),
            },
        }
    }

    /// Authenticates a request in the order of RFC 8489 §9.1.3 and §6.3.1 (complete, known,
    /// authentic, understood), then checks the role (RFC 8445 §7.3.1.1).
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
        if !request.has_valid_integrity(pwd) {
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
        let response = request.success(path.remote, pwd);
        self.last_check = Some(now);
        let mut events = Vec::new();
        if era == Era::Current {
            events.extend(
                self.previous
                    .take()
                    .map(|previous| PathEvent::Retired(previous.local.ufrag)),
            );
        }
        self.store_path(now, path, &mut events);
        self.select_path(path, request.use_candidate, &mut events);
        Checked {
            response: Some(response),
            events,
            result: Ok(()),
        }
    }

    fn store_path(&mut self, now: Instant, path: Path, events: &mut Vec<PathEvent>) {
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

    /// Selects the path of the latest nomination. Browsers nominate towards a lite agent only their
    /// selected path (libwebrtc repeats USE-CANDIDATE in every check of it), so the first check
    /// from a new network moves media there. Before any nomination, the first path that passed a
    /// check carries the handshake.
    fn select_path(&mut self, path: Path, use_candidate: bool, events: &mut Vec<PathEvent>) {
        let take = use_candidate || (self.selected.is_none() && !self.nominated);
        self.nominated |= use_candidate;
        if take && self.selected != Some(path) {
            self.selected = Some(path);
            events.push(PathEvent::Selected(path));
        }
    }
}

/// Generation of credentials that a check used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    Current,
    Previous,
}
