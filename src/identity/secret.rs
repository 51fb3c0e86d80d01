//! Random secrets that the server stores as hashes only: session tokens, classroom passes, setup
//! links.

use ring::digest;

/// Crockford's base 32 in lower case: no characters that look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 160 bits of entropy at 5 bits per character.
const TOKEN_CHARS: usize = 32;
/// 60 bits of entropy for an initial password; sign-in attempts are rate limited.
const PASSWORD_CHARS: usize = 12;

/// Generates a token of 160 random bits.
pub fn token() -> String {
    random_text(TOKEN_CHARS)
}

/// Generates an initial password.
pub fn password() -> String {
    random_text(PASSWORD_CHARS)
}

/// SHA-256 of a token, as stored. No salt or stretching: the token has 160 random bits.
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
    fn tokens_are_long_and_unique() {
        let (one, other) = (super::token(), super::token());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
        assert_ne!(super::hash(&one), super::hash(&other));
    }
}
