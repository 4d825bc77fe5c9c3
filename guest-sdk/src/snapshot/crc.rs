//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), one byte at a time. The table is small because every module contains it.

/// The polynomial, bit-reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ POLYNOMIAL
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// A checksum that is computed incrementally.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) fn new() -> Self {
        Self(u32::MAX)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let slot = (self.0 as u8) ^ byte;
            self.0 = (self.0 >> 8) ^ TABLE[usize::from(slot)];
        }
    }

    pub(super) fn value(self) -> u32 {
        !self.0
    }
}
