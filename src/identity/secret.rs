//! Secrets that we make and only ever keep as hashes: session tokens, classroom passes, one-time links.

use ring::digest;

/// Crockford's base 32 in lower case: nothing that a person could misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 160 bits: beyond guessing even against every classroom at once.
const TOKEN_CHARS: usize = 32;
/// 60 bits for a password that a person types once and then changes; tries are limited.
const PASSWORD_CHARS: usize = 12;

/// A fresh token of 160 random bits.
pub fn token() -> String {
    random_text(TOKEN_CHARS)
}

/// A fresh password for a person's first sign-in.
pub fn password() -> String {
    random_text(PASSWORD_CHARS)
}

/// What the database keeps of a token. A token has 160 bits of its own, so one round of SHA-256 is enough.
pub fn hash(token: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

fn random_text(chars: usize) -> String {
    let bytes: [u8; TOKEN_CHARS] = rand::random();
    bytes
        .iter()
        .take(chars)
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn tokens_are_long_and_never_twice_the_same() {
        let (one, other) = (super::token(), super::token());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
        assert_ne!(super::hash(&one), super::hash(&other));
    }
}
