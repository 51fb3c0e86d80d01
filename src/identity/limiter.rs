//! Rate limit of failed sign-ins, per login and address and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::error::{Error, Result};

/// Windows kept at a time. An attacker needs this many addresses to evict one; the oldest goes first.
const MAX_WINDOWS: usize = 20_000;
/// Factor of the limit per address over the limit per login: a whole school shares one address.
const PER_ADDRESS: u32 = 10;

/// Counts failures in fixed windows. Clones share the counts.
#[derive(Clone)]
pub struct Limiter {
    tries: u32,
    window: Duration,
    windows: Arc<Mutex<HashMap<WindowKey, Window>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct WindowKey {
    /// `None` for the window of the whole address.
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

    /// Counts an attempt before the password is verified; [`Limiter::succeeded`] reverts it.
    pub fn check(&self, login: &str, address: IpAddr, now: Instant) -> Result<()> {
        let mut windows = self.windows.lock().expect("never poisoned");
        self.make_room(&mut windows, now);
        for (source, allowed) in self.keys(login, address) {
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

    /// Resets the window of the login and refunds the attempt to the address.
    pub fn succeeded(&self, login: &str, address: IpAddr) {
        let mut windows = self.windows.lock().expect("never poisoned");
        let [(own, _), (whole, _)] = self.keys(login, address);
        windows.remove(&own);
        if let Some(window) = windows.get_mut(&whole) {
            window.failures = window.failures.saturating_sub(1);
        }
    }

    fn keys(&self, login: &str, address: IpAddr) -> [(WindowKey, u32); 2] {
        let own = WindowKey {
            login: Some(login.to_owned()),
            address,
        };
        [
            (own, self.tries),
            (
                WindowKey {
                    login: None,
                    address,
                },
                self.tries.saturating_mul(PER_ADDRESS),
            ),
        ]
    }

    fn make_room(&self, windows: &mut HashMap<WindowKey, Window>, now: Instant) {
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
    fn failures_block_one_login_from_one_address_until_the_window_ends() {
        let (limiter, now) = (limiter(3), Instant::now());
        for _ in 0..3 {
            limiter.check("wang", HOME, now).expect("within the limit");
        }
        let error = limiter
            .check("wang", HOME, now + Duration::from_secs(10))
            .unwrap_err();
        assert!(
            matches!(error, Error::TooMany { retry_after } if retry_after == Duration::from_secs(50)),
            "{error}"
        );
        limiter
            .check("wang", ELSEWHERE, now)
            .expect("the teacher at home is not locked out");
        limiter
            .check("chen", HOME, now)
            .expect("nor is another name");
        limiter
            .check("wang", HOME, now + Duration::from_secs(60))
            .expect("a new window");
    }

    #[test]
    fn failures_with_many_logins_block_the_address() {
        let (limiter, now) = (limiter(1), Instant::now());
        let refused = (0..20)
            .filter(|n| limiter.check(&format!("name{n}"), HOME, now).is_err())
            .count();
        assert_eq!(refused, 10);
    }

    #[test]
    fn successful_sign_ins_are_not_counted() {
        let (limiter, now) = (limiter(2), Instant::now());
        for _ in 0..50 {
            limiter.check("wang", HOME, now).expect("never refused");
            limiter.succeeded("wang", HOME);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (limiter, now) = (limiter(2), Instant::now());
        for n in 0..(MAX_WINDOWS as u32 + 500) {
            let address = IpAddr::V4(std::net::Ipv4Addr::from(n));
            // Distinct times, so that eviction has a unique oldest window.
            let _ = limiter.check("x", address, now + Duration::from_micros(u64::from(n)));
            if n > MAX_WINDOWS as u32 / 2 + 20 {
                break;
            }
        }
        assert!(limiter.windows.lock().unwrap().len() <= MAX_WINDOWS);
    }
}
