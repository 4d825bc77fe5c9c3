//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), eight bytes at a time ("slicing by 8", Kounavis and Berry, 2005). The tables are
//! computed, because every module would contain them.

/// The polynomial, bit-reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// For each of eight bytes, what it contributes.
type Tables = [[u32; 256]; 8];

fn tables() -> Box<Tables> {
    let mut tables = Box::new([[0; 256]; 8]);
    for byte in 0..256 {
        let mut value = byte as u32;
        for _ in 0..8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ POLYNOMIAL
            } else {
                value >> 1
            };
        }
        tables[0][byte] = value;
    }
    for byte in 0..256 {
        for later in 1..8 {
            let before = tables[later - 1][byte];
            tables[later][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
        }
    }
    tables
}

/// A checksum that is computed incrementally.
#[derive(Debug, Clone)]
pub(super) struct Crc {
    value: u32,
    tables: Box<Tables>,
}

impl Crc {
    pub(super) fn new() -> Self {
        Self {
            value: u32::MAX,
            tables: tables(),
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        let tables = &*self.tables;
        let mut value = self.value;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let word = u64::from_le_bytes(*word) ^ u64::from(value);
            value = (0..8).fold(0, |sum, byte| {
                sum ^ tables[7 - byte][(word >> (8 * byte)) as usize & 0xff]
            });
        }
        for &byte in rest {
            value = (value >> 8) ^ tables[0][(value ^ u32::from(byte)) as usize & 0xff];
        }
        self.value = value;
    }

    pub(super) fn value(&self) -> u32 {
        !self.value
    }
}
