//! Slows guessing: failed sign-ins are counted per name and address, and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::error::{Error, Result};

/// What is remembered at a time; beyond it the oldest window is forgotten, which costs an attacker that many addresses.
const MAX_WINDOWS: usize = 20_000;
/// A school behind one address has many people: it may fail this many times as often as one name.
const PER_ADDRESS: u32 = 10;

/// Counts failures in fixed windows. Cloning shares the counts.
#[derive(Clone)]
pub struct Limiter {
    tries: u32,
    window: Duration,
    windows: Arc<Mutex<HashMap<Source, Window>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Source {
    /// `None` counts for the whole address.
    login: Option<String>,
    address: IpAddr,
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

    /// Counts a try before it is made; a success is taken back with [`Limiter::succeeded`].
    pub fn count(&self, login: &str, address: IpAddr, now: Instant) -> Result<()> {
        let mut windows = self.windows.lock().expect("never poisoned");
        self.make_room(&mut windows, now);
        for (source, allowed) in self.sources(login, address) {
            let window = windows.entry(source).or_insert(Window {
                opened: now,
                failures: 0,
            });
            if now.duration_since(window.opened) >= self.window {
                *window = Window {
                    opened: now,
                    failures: 0,
                };
            }
            if window.failures >= allowed {
                return Err(Error::TooMany {
                    retry_after: window.opened + self.window - now,
                });
            }
            window.failures += 1;
        }
        Ok(())
    }

    /// The try was right: this name starts anew, and the address is not charged.
    pub fn succeeded(&self, login: &str, address: IpAddr) {
        let mut windows = self.windows.lock().expect("never poisoned");
        let [(own, _), (whole, _)] = self.sources(login, address);
        windows.remove(&own);
        if let Some(window) = windows.get_mut(&whole) {
            window.failures = window.failures.saturating_sub(1);
        }
    }

    fn sources(&self, login: &str, address: IpAddr) -> [(Source, u32); 2] {
        let own = Source {
            login: Some(login.to_owned()),
            address,
        };
        [
            (own, self.tries),
            (
                Source {
                    login: None,
                    address,
                },
                self.tries.saturating_mul(PER_ADDRESS),
            ),
        ]
    }

    fn make_room(&self, windows: &mut HashMap<Source, Window>, now: Instant) {
        if windows.len() + 2 <= MAX_WINDOWS {
            return;
        }
        windows.retain(|_, window| now.duration_since(window.opened) < self.window);
        while windows.len() + 2 > MAX_WINDOWS {
            let oldest = windows
                .iter()
                .min_by_key(|(_, window)| window.opened)
                .map(|(source, _)| source.clone());
            windows.remove(&oldest.expect("the map is not empty"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));

    fn limiter(tries: u32) -> Limiter {
        Limiter::new(&Limits {
            sign_in_tries: tries,
            sign_in_window_seconds: 60,
            ..Limits::default()
        })
    }

    #[test]
    fn guessing_one_name_is_stopped_for_that_address_only_and_for_a_while() {
        let (limiter, now) = (limiter(3), Instant::now());
        for _ in 0..3 {
            limiter.count("wang", HOME, now).expect("within the limit");
        }
        let error = limiter
            .count("wang", HOME, now + Duration::from_secs(10))
            .unwrap_err();
        assert!(
            matches!(error, Error::TooMany { retry_after } if retry_after == Duration::from_secs(50)),
            "{error}"
        );
        limiter
            .count("wang", ELSEWHERE, now)
            .expect("the teacher at home is not locked out");
        limiter
            .count("chen", HOME, now)
            .expect("nor is another name");
        limiter
            .count("wang", HOME, now + Duration::from_secs(60))
            .expect("a new window");
    }

    #[test]
    fn one_address_cannot_try_endless_names() {
        let (limiter, now) = (limiter(1), Instant::now());
        let refused = (0..20)
            .filter(|n| limiter.count(&format!("name{n}"), HOME, now).is_err())
            .count();
        assert_eq!(refused, 10);
    }

    #[test]
    fn signing_in_rightly_costs_nothing() {
        let (limiter, now) = (limiter(2), Instant::now());
        for _ in 0..50 {
            limiter.count("wang", HOME, now).expect("never refused");
            limiter.succeeded("wang", HOME);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (limiter, now) = (limiter(2), Instant::now());
        for n in 0..(MAX_WINDOWS as u32 + 500) {
            let address = IpAddr::V4(std::net::Ipv4Addr::from(n));
            // Each at its own time, so that eviction has an oldest one.
            let _ = limiter.count("x", address, now + Duration::from_micros(u64::from(n)));
            if n > MAX_WINDOWS as u32 / 2 + 20 {
                break;
            }
        }
        assert!(limiter.windows.lock().unwrap().len() <= MAX_WINDOWS);
    }
}
