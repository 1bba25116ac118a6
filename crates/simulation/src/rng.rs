//! Chance from a seed: the only source of it in a simulated world.

use std::sync::{Mutex, PoisonError};

use dfs_core::env::Random;

/// A small generator (`SplitMix64`: Steele, Lea, Flood 2014). Equal seeds give
/// equal numbers, on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator that starts from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for `name`, independent of how much others draw.
    #[must_use]
    pub fn derive(seed: u64, name: &str) -> Self {
        // FNV-1a, then one step of the generator to spread it.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let start = 0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(17);
        let mut rng = Self(name.bytes().fold(start, mix));
        Self(rng.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number from 0 to `end - 1`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of the remainder is far below what any test can see.
        if end == 0 { 0 } else { self.next_u64() % end }
    }

    /// True `numerator` times of `denominator`.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }

    /// `len` random bytes.
    #[must_use]
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

/// A generator behind the seam that roles draw from.
#[derive(Debug)]
pub struct SeededRandom(Mutex<Rng>);

impl SeededRandom {
    /// Draws from `rng`.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self(Mutex::new(rng))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_seeds_part_the_streams() {
        let first = |seed, name| Rng::derive(seed, name).next_u64();
        assert_eq!(first(1, "n1"), first(1, "n1"));
        assert_ne!(first(1, "n1"), first(1, "n2"));
        assert_ne!(first(1, "n1"), first(2, "n1"));
    }
}
