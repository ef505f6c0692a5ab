//! Fresh names: lives, attempts, nonces, document writers.
//!
//! The source of randomness is passed in, so that a simulation replays from its seed.

use std::fmt;
use std::sync::Arc;

use rand::Rng;

/// Where fresh names come from.
#[derive(Clone)]
pub struct Ids(Arc<dyn Fn() -> u64 + Send + Sync>);

/// Lower case, without the letters that are read wrongly (i, l, o, u).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Ids {
    /// From the operating system's randomness.
    pub fn random() -> Self {
        Self(Arc::new(|| rand::rng().next_u64()))
    }

    /// From a function of the caller's.
    pub fn from_fn(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// A fresh name of 8 characters (40 bits): enough where names meet only within one job.
    pub fn short(&self) -> String {
        Self::text((self.0)(), 8)
    }

    /// A fresh name of 12 characters (60 bits): for names that are never checked against each other.
    pub fn long(&self) -> String {
        Self::text((self.0)(), 12)
    }

    fn text(mut bits: u64, characters: usize) -> String {
        let mut text = String::with_capacity(characters);
        for _ in 0..characters {
            text.push(char::from(ALPHABET[(bits & 31) as usize]));
            bits >>= 5;
        }
        text
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}
