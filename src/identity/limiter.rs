//! Rate limit of failed sign-ins: per login and network, per network, per login, and per known device.
//!
//! A known device (see [`super::device`]) has a window of its own and is exempt from the others, so
//! failures of strangers never lock out a person on their own computer (OWASP "device cookies"). An
//! IPv6 network is a /64: every subscriber line has at least that many addresses (RFC 6177 §2).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::error::{Error, Result};

/// Windows kept at a time. An attacker needs this many networks to evict one; the oldest goes first.
const MAX_WINDOWS: usize = 20_000;
/// Factor of the limits per network and per login over the limit per login and network: a whole school
/// shares a network, and a person may mistype on several.
const WIDE_FACTOR: u32 = 10;

/// Counts failures in fixed windows. Clones share the counts.
#[derive(Clone)]
pub struct Limiter {
    tries: u32,
    window: Duration,
    windows: Arc<Mutex<HashMap<Key, Window>>>,
}

/// Origin of a sign-in attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A browser on which this person signed in before, by the hash of its device token.
    KnownDevice(String),
    /// Any other client, by its address.
    Address(IpAddr),
}

/// Subject of a window.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Device(String),
    LoginAndNetwork(String, IpAddr),
    Network(IpAddr),
    Login(String),
}

struct Window {
    opened: Instant,
    failures: u32,
}

impl Limiter {
    pub fn new(limits: &Limits) -> Self {
        let window = Duration::from_secs(limits.sign_in_window_seconds.max(1));
        Self {
            tries: limits.sign_in_tries,
            window,
            windows: Arc::default(),
        }
    }

    /// Counts an attempt before the password is verified; [`Limiter::succeeded`] reverts it. An attempt
    /// over any limit is counted nowhere.
    pub fn check(&self, login: &str, origin: &Origin, now: Instant) -> Result<()> {
        let mut windows = self.windows.lock().expect("never poisoned");
        let keys = self.keys(login, origin);
        for (key, allowed) in &keys {
            let Some(window) = windows.get(key) else {
                continue;
            };
            let open_for = now.duration_since(window.opened);
            if window.failures >= *allowed && open_for < self.window {
                metrics::counter!(crate::metrics::SIGN_INS_LIMITED).increment(1);
                return Err(Error::TooMany {
                    retry_after: self.window - open_for,
                });
            }
        }
        for (key, _) in keys {
            self.evict(&mut windows, now);
            let window = windows.entry(key).or_insert(Window {
                opened: now,
                failures: 0,
            });
            if now.duration_since(window.opened) >= self.window {
                *window = Window {
                    opened: now,
                    failures: 0,
                };
            }
            window.failures += 1;
        }
        Ok(())
    }

    /// Resets the windows of this person and refunds the attempt to the shared ones.
    pub fn succeeded(&self, login: &str, origin: &Origin) {
        let mut windows = self.windows.lock().expect("never poisoned");
        for (key, _) in self.keys(login, origin) {
            match key {
                Key::Device(_) | Key::LoginAndNetwork(..) => drop(windows.remove(&key)),
                Key::Network(_) | Key::Login(_) => {
                    if let Some(window) = windows.get_mut(&key) {
                        window.failures = window.failures.saturating_sub(1);
                    }
                }
            }
        }
    }

    /// Windows that an attempt counts in, each with its limit.
    fn keys(&self, login: &str, origin: &Origin) -> Vec<(Key, u32)> {
        let wide = self.tries.saturating_mul(WIDE_FACTOR);
        match origin {
            Origin::KnownDevice(hash) => vec![(Key::Device(hash.clone()), self.tries)],
            Origin::Address(address) => {
                let network = network_of(*address);
                vec![
                    (Key::LoginAndNetwork(login.to_owned(), network), self.tries),
                    (Key::Network(network), wide),
                    (Key::Login(login.to_owned()), wide),
                ]
            }
        }
    }

    fn evict(&self, windows: &mut HashMap<Key, Window>, now: Instant) {
        if windows.len() < MAX_WINDOWS {
            return;
        }
        windows.retain(|_, window| now.duration_since(window.opened) < self.window);
        while windows.len() >= MAX_WINDOWS {
            let oldest = windows.iter().min_by_key(|(_, window)| window.opened);
            let oldest = oldest.map(|(key, _)| key.clone());
            windows.remove(&oldest.expect("the map is not empty"));
        }
    }
}

/// The address itself in IPv4, its /64 prefix in IPv6.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn limiter(tries: u32) -> Limiter {
        Limiter::new(&Limits {
            sign_in_tries: tries,
            sign_in_window_seconds: WINDOW.as_secs(),
            ..Limits::default()
        })
    }

    fn from(address: &str) -> Origin {
        Origin::Address(address.parse().expect("an address"))
    }

    fn fail(limiter: &Limiter, login: &str, origin: &Origin, times: u32, now: Instant) -> u32 {
        (0..times)
            .filter(|_| limiter.check(login, origin, now).is_ok())
            .count() as u32
    }

    #[test]
    fn failures_block_one_login_from_one_network_until_the_window_ends() {
        let (limiter, now, home) = (limiter(3), Instant::now(), from("127.0.0.1"));
        assert_eq!(fail(&limiter, "wang", &home, 5, now), 3);
        let Err(Error::TooMany { retry_after }) = limiter.check("wang", &home, now) else {
            panic!("the fourth attempt is blocked");
        };
        assert_eq!(retry_after, WINDOW);
        assert!(limiter.check("li", &home, now).is_ok(), "another login");
        assert!(
            limiter.check("wang", &from("10.0.0.9"), now).is_ok(),
            "another network"
        );
        assert!(
            limiter.check("wang", &home, now + WINDOW).is_ok(),
            "the next window"
        );
    }

    #[test]
    fn failures_with_many_logins_block_the_network() {
        let (limiter, now, home) = (limiter(1), Instant::now(), from("127.0.0.1"));
        let allowed = (0..20).filter(|n| limiter.check(&format!("name{n}"), &home, now).is_ok());
        assert_eq!(allowed.count(), 10);
    }

    #[test]
    fn failures_from_many_networks_block_the_login() {
        let (limiter, now) = (limiter(1), Instant::now());
        let origin = |n| from(&format!("10.0.0.{n}"));
        let allowed = (0..20).filter(|n| limiter.check("wang", &origin(*n), now).is_ok());
        assert_eq!(allowed.count(), 10);
    }

    #[test]
    fn the_addresses_of_an_ipv6_64_share_their_window() {
        let (limiter, now) = (limiter(3), Instant::now());
        let origin = |n| from(&format!("2001:db8:0:7::{n:x}"));
        let allowed = (0..50).filter(|n| limiter.check("wang", &origin(*n), now).is_ok());
        assert_eq!(allowed.count(), 3);
        assert!(
            limiter.check("wang", &from("2001:db8:0:8::1"), now).is_ok(),
            "another /64"
        );
    }

    #[test]
    fn strangers_never_lock_out_a_known_device_and_a_known_device_is_limited_itself() {
        let (limiter, now) = (limiter(3), Instant::now());
        for n in 0..200 {
            let _ = limiter.check("wang", &from(&format!("10.0.{n}.1")), now);
            let _ = limiter.check("wang", &from("127.0.0.1"), now);
        }
        assert!(limiter.check("wang", &from("127.0.0.1"), now).is_err());
        let own = Origin::KnownDevice("hash".into());
        assert_eq!(fail(&limiter, "wang", &own, 10, now), 3);
    }

    #[test]
    fn successful_sign_ins_are_not_counted() {
        let (limiter, now, home) = (limiter(2), Instant::now(), from("127.0.0.1"));
        for _ in 0..200 {
            limiter.check("wang", &home, now).expect("allowed");
            limiter.succeeded("wang", &home);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (limiter, start) = (limiter(1), Instant::now());
        for n in 0..u32::try_from(MAX_WINDOWS + 100).expect("small") {
            // Distinct times, so that eviction has a unique oldest window.
            let now = start + Duration::from_micros(n.into());
            let _ = limiter.check("wang", &Origin::Address(IpAddr::V4(n.into())), now);
        }
        assert!(limiter.windows.lock().expect("never poisoned").len() <= MAX_WINDOWS);
    }
}
