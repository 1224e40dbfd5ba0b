//! Random texts: refresh tokens, families, first passwords, keys.
//!
//! Guarantees: from the kernel's source, never from a seed.
//! It is not for ids that only have to differ: those are `tidings_core::id`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// So many random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random source does not fail once the system is up");
    bytes
}

/// So many random bytes, as base64url.
pub(crate) fn text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// So many random bytes as an id: like [`text`], but a command line does not take it for an option.
pub(crate) fn id<const N: usize>() -> String {
    loop {
        let id = text::<N>();
        if !id.starts_with('-') {
            return id;
        }
    }
}

/// What is stored of a secret text: its SHA-256.
pub(crate) fn fingerprint(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_an_option_of_a_command_line() {
        assert!((0..10_000).all(|_| !id::<1>().starts_with('-')));
    }
}
