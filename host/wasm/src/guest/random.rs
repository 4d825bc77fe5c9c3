//! The generator behind `host.random`: equal on every node; suitable for spreading load, not for secrets.

/// A SplitMix64 sequence (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014, §4), seeded
/// from the index of the entry and the number of the call within it. Two calls never share a sequence.
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(index: u64, call: u32) -> Self {
        let mut seed = Self { state: index };
        let by_index = seed.next();
        let mut seed = Self {
            state: by_index ^ u64::from(call),
        };
        let state = seed.next();
        Self { state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns the next `length` bytes, little-endian; a draw that is not a multiple of eight discards the rest of its
    /// last number.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests;
