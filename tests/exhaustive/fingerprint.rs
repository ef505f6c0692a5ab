//! What a state is known by in the search: 128 bits, so that a collision among millions of states is not to be feared.
//!
//! Made in one pass, because most of a search's time goes here. It refuses to withstand an attacker.

use std::hash::{Hash, Hasher};

/// Two sums of 64 bits, each mixed by a multiplication of its own.
struct Mix(u64, u64);

const FACTORS: (u64, u64) = (0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F);

fn fold(sum: u64, word: u64, factor: u64) -> u64 {
    let product = (sum.rotate_left(23) ^ word).wrapping_mul(factor);
    product ^ (product >> 29)
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = fold(self.0, n, FACTORS.0);
        self.1 = fold(self.1, n.rotate_left(31), FACTORS.1);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}

/// Of anything.
pub(crate) fn fingerprint(value: &impl Hash) -> u128 {
    let mut mix = Mix(FACTORS.1, FACTORS.0);
    value.hash(&mut mix);
    (u128::from(mix.0) << 64) | u128::from(mix.1)
}
