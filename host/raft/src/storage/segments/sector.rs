//! A sector: the unit that a disk writes completely or not at all.
//!
//! ```text
//! offset  bytes  content
//!      0    500  content, padded with zeros
//!    500      4  sequence of the segment; 0 if the sector is not used yet
//!    504      4  number of the write, its low 32 bits; 0 in the header of a segment
//!    508      4  CRC-32C of log id, number of the file, number of the sector, and all bytes before
//! ```
//!
//! Numbers are big-endian. The checksum covers the place, so a sector that was written to another place is corrupt.

/// Length of a sector, in bytes.
pub const SECTOR_BYTES: usize = 512;
/// Bytes of content in a sector.
pub const CONTENT_BYTES: usize = 500;
const SEQUENCE: usize = 500;
const WRITE: usize = 504;
const CHECKSUM: usize = 508;

/// What a sector belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SectorTag {
    /// Sequence of the segment; 0: not used yet.
    pub sequence: u32,
    /// The low 32 bits of the write's number.
    pub write: u32,
}

/// Where a sector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectorPlace {
    /// The random id of the log.
    pub log_id: u64,
    /// The number of the file.
    pub file: u32,
    /// The number of the sector in the file.
    pub sector: u32,
}

/// Sets tag and checksum of a sector.
///
/// # Panics
/// `sector` does not have [`SECTOR_BYTES`].
pub fn seal_sector(place: SectorPlace, tag: SectorTag, sector: &mut [u8]) {
    assert_eq!(sector.len(), SECTOR_BYTES, "the length of a sector");
    sector[SEQUENCE..WRITE].copy_from_slice(&tag.sequence.to_be_bytes());
    sector[WRITE..CHECKSUM].copy_from_slice(&tag.write.to_be_bytes());
    let checksum = checksum(place, &sector[..CHECKSUM]);
    sector[CHECKSUM..].copy_from_slice(&checksum.to_be_bytes());
}

/// The tag of a sector; `None` if the sector is corrupt.
#[must_use]
pub fn open_sector(place: SectorPlace, sector: &[u8]) -> Option<SectorTag> {
    if sector.len() != SECTOR_BYTES {
        return None;
    }
    if number(&sector[CHECKSUM..]) != checksum(place, &sector[..CHECKSUM]) {
        return None;
    }
    Some(SectorTag {
        sequence: number(&sector[SEQUENCE..WRITE]),
        write: number(&sector[WRITE..CHECKSUM]),
    })
}

fn checksum(place: SectorPlace, bytes: &[u8]) -> u32 {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&place.log_id.to_be_bytes());
    key[8..12].copy_from_slice(&place.file.to_be_bytes());
    key[12..].copy_from_slice(&place.sector.to_be_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&key), bytes)
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}
