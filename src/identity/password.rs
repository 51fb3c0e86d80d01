//! Password hashing with argon2id (RFC 9106) on blocking threads, with bounded concurrency.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Concurrent hashes. Each takes 19 MiB and tens of milliseconds of a core that media threads need.
const CONCURRENT: usize = 2;
/// NIST SP 800-63B §5.1.1.2: at least 8 characters; the upper bound limits the CPU time of one request.
pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=128;

/// Hash verified for unknown logins, so that their response takes as long as for a wrong password.
static NOBODY: LazyLock<String> =
    LazyLock::new(|| hash_now(&super::secret::token()).expect("argon2's defaults are valid"));

/// Hashes and verifies passwords. Clones share the concurrency limit.
#[derive(Clone)]
pub struct Hasher {
    slots: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(CONCURRENT)),
        }
    }
}

impl Hasher {
    /// Returns the hash as a PHC string.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.work(move || hash_now(&password))
            .await?
            .map_err(|cause| Error::internal(cause.to_string()))
    }

    /// Returns true if the password matches; takes constant time without a hash, too.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        self.work(move || {
            let known = hash.is_some();
            let hash = hash.as_deref().unwrap_or(&NOBODY);
            let fits = PasswordHash::new(hash).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            });
            fits && known
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let slot = self
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(Error::internal)?;
        let work = move || {
            let result = work();
            drop(slot);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(Error::internal)
    }
}

fn hash_now(password: &str) -> Result<String, argon2::password_hash::Error> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
}

/// Computes the hash for unknown logins before the first request needs it.
pub fn prepare() {
    std::thread::spawn(|| LazyLock::force(&NOBODY).len());
}

/// Rejects a password outside [`LENGTH`], a common one, and one made of `own` words like the login
/// (NIST SP 800-63B §5.1.1.2).
pub fn check(field: &'static str, password: &str, own: &[&str]) -> Result<()> {
    if !LENGTH.contains(&password.chars().count()) {
        return Err(Error::field(
            field,
            "密码需要 8 到 128 个字符。",
            "A password needs 8 to 128 characters.",
        ));
    }
    // Score 1: fewer than a million guesses, within reach of the sign-in limit and a patient attacker.
    if zxcvbn::zxcvbn(password, own).score() <= zxcvbn::Score::One {
        return Err(Error::field(
            field,
            "这个密码太常见、太容易被猜到，请换一个：例如几个不相关的词连在一起。",
            "This password is too common or easy to guess. Choose another one, such as several unrelated words.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_passwords_and_the_login_are_rejected() {
        for weak in [
            "12345678",
            "password1",
            "qwertyuiop",
            "a1234567",
            "zhoumin2026",
        ] {
            assert!(check("new", weak, &["zhoumin"]).is_err(), "{weak}");
        }
        for good in [
            "春风又绿江南岸明月何时",
            "a good passphrase",
            "vN3-kq81-Tz",
            "mzq7w2t9k4xc",
        ] {
            assert!(check("new", good, &["zhoumin"]).is_ok(), "{good}");
        }
    }

    #[tokio::test]
    async fn only_the_right_password_matches_and_no_hash_never_does() {
        let hasher = Hasher::default();
        let hash = hasher.hash("春风又绿江南岸".into()).await.expect("hashes");
        assert!(hash.starts_with("$argon2id$"));
        assert!(
            hasher
                .verify("春风又绿江南岸".into(), Some(hash.clone()))
                .await
                .expect("runs")
        );
        assert!(
            !hasher
                .verify("明月何时照我还".into(), Some(hash))
                .await
                .expect("runs")
        );
        assert!(
            !hasher
                .verify("春风又绿江南岸".into(), None)
                .await
                .expect("runs")
        );
    }
}
