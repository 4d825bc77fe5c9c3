//! A segment in use, and its header.
//!
//! The header is the content of the first sector:
//!
//! ```text
//! offset  bytes  content
//!      0      8  "OARLKLOG"
//!      8      4  version, 1
//!     12      8  id of the log
//!     20      4  number of the file
//!     24      4  sequence; 0: the segment is not in use
//!     28      4  number of sectors
//! ```

use std::io;
use std::sync::Arc;

use bytes::Buf;

use super::files::{SegmentFile, SegmentFiles};
use super::sector::{SECTOR_BYTES, SectorPlace, SectorTag, open_sector, seal_sector};
use crate::ids::Index;
use crate::storage::StorageError;
use crate::storage::files::{failed, unwritten};

const MAGIC: &[u8; 8] = b"OARLKLOG";
const VERSION: u32 = 1;
/// Sectors of a page of the operating system: they are written together, so that the kernel reads nothing for a write.
pub(super) const PAGE_SECTORS: u32 = 8;
pub(super) const PAGE_BYTES: usize = PAGE_SECTORS as usize * SECTOR_BYTES;
/// Bytes that are written and synced at once while a segment is created: more would delay the syncs of the log.
const CREATE_BYTES: usize = 1 << 20;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) log_id: u64,
    pub(super) file: u32,
    /// 0: not in use.
    pub(super) sequence: u32,
    pub(super) sectors: u32,
}

impl SegmentHeader {
    /// The first sector of the segment.
    pub(super) fn sector(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[..8].copy_from_slice(MAGIC);
        sector[8..12].copy_from_slice(&VERSION.to_be_bytes());
        sector[12..20].copy_from_slice(&self.log_id.to_be_bytes());
        for (field, number) in [self.file, self.sequence, self.sectors].iter().enumerate() {
            let at = 20 + 4 * field;
            sector[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
        let tag = SectorTag {
            sequence: self.sequence,
            write: 0,
        };
        seal_sector(self.place(0), tag, &mut sector);
        sector
    }

    /// Decodes the first sector of the file with this number.
    fn decode(file: u32, log_id: Option<u64>, sector: &[u8]) -> Result<Self, HeaderError> {
        let mut body = sector;
        let magic = body.get(..8).ok_or(HeaderError::Corrupt)?;
        let is_segment = magic == MAGIC;
        body.advance(8);
        let version = body.get_u32();
        let found_id = body.get_u64();
        let header = Self {
            log_id: log_id.unwrap_or(found_id),
            file,
            sequence: 0,
            sectors: 0,
        };
        let tag = open_sector(header.place(0), sector).ok_or(HeaderError::Corrupt)?;
        if is_segment && version > VERSION {
            return Err(HeaderError::TooNew(version));
        }
        let found_file = body.get_u32();
        let (sequence, sectors) = (body.get_u32(), body.get_u32());
        let fits = (found_id, found_file, sequence) == (header.log_id, file, tag.sequence);
        if !is_segment || !fits {
            return Err(HeaderError::Corrupt);
        }
        Ok(Self {
            sequence,
            sectors,
            ..header
        })
    }

    pub(super) fn place(&self, sector: u32) -> SectorPlace {
        SectorPlace {
            log_id: self.log_id,
            file: self.file,
            sector,
        }
    }

    /// Seals sectors that are not used yet, from `first` on.
    pub(super) fn clear(&self, first: u32, sectors: &mut [u8]) {
        for (number, sector) in (first..).zip(sectors.chunks_exact_mut(SECTOR_BYTES)) {
            sector.fill(0);
            seal_sector(self.place(number), SectorTag::default(), sector);
        }
    }
}

enum HeaderError {
    Corrupt,
    TooNew(u32),
}

/// A segment.
#[derive(Debug)]
pub(super) struct LogSegment {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<dyn SegmentFile>,
    /// The next sector to write.
    pub(super) next: u32,
    /// The highest index of an entry in it. Zero: it contains none.
    pub(super) highest: Index,
}

impl LogSegment {
    pub(super) fn new(header: SegmentHeader, file: Arc<dyn SegmentFile>) -> Self {
        Self {
            header,
            file,
            next: 1,
            highest: Index::ZERO,
        }
    }

    /// Sectors that are left.
    pub(super) fn room(&self) -> u32 {
        self.header.sectors - self.next
    }
}

/// Opens a file and reads its header. `log_id` is `None` for a caller that does not know it.
pub(super) fn open_segment(
    files: &dyn SegmentFiles,
    file: u32,
    log_id: Option<u64>,
) -> Result<LogSegment, StorageError> {
    let path = files.path(file);
    let unreadable = |error| failed("cannot read", &path)(error);
    let opened = files.open(file).map_err(unreadable)?;
    let length = opened.length().map_err(unreadable)?;
    let corrupt = |reason: String| StorageError::Corrupt {
        record: format!("the log file {}", path.display()),
        reason,
    };
    if length < PAGE_BYTES as u64 {
        return Err(corrupt(format!("it has only {length} bytes")));
    }
    let mut sector = [0; SECTOR_BYTES];
    opened.read(0, &mut sector).map_err(unreadable)?;
    let header = match SegmentHeader::decode(file, log_id, &sector) {
        Ok(header) => header,
        Err(HeaderError::Corrupt) => {
            return Err(corrupt(
                "its first sector is corrupt, or belongs to another log".to_owned(),
            ));
        }
        Err(HeaderError::TooNew(found)) => {
            let known = VERSION;
            return Err(StorageError::TooNew { path, found, known });
        }
    };
    let wanted = u64::from(header.sectors) * SECTOR_BYTES as u64;
    if wanted != length {
        return Err(corrupt(format!(
            "it has {length} bytes, and {wanted} are expected"
        )));
    }
    Ok(LogSegment::new(header, opened))
}

/// Creates a file of unused sectors with this header, durably.
pub(super) fn create_segment(
    files: &dyn SegmentFiles,
    header: SegmentHeader,
) -> Result<LogSegment, StorageError> {
    let path = files.path(header.file);
    let bytes = u64::from(header.sectors) * SECTOR_BYTES as u64;
    let file = files
        .create(header.file, bytes)
        .map_err(unwritten("cannot create", &path))?;
    let mut first = 0;
    while first < header.sectors {
        let count = (header.sectors - first).min((CREATE_BYTES / SECTOR_BYTES) as u32);
        let mut chunk = vec![0; count as usize * SECTOR_BYTES];
        header.clear(first, &mut chunk);
        if first == 0 {
            chunk[..SECTOR_BYTES].copy_from_slice(&header.sector());
        }
        file.write(u64::from(first) * SECTOR_BYTES as u64, &chunk)
            .map_err(unwritten("cannot write", &path))?;
        // Nothing refers to the file yet, so a full disk does no harm here.
        file.sync().map_err(unwritten("cannot sync", &path))?;
        first += count;
    }
    files
        .publish(header.file)
        .map_err(unwritten("cannot create", &path))?;
    Ok(LogSegment::new(header, file))
}

/// Gives a segment another header, durably. It keeps its content, which belongs to the former sequence.
pub(super) fn write_header(
    files: &dyn SegmentFiles,
    header: SegmentHeader,
    file: &dyn SegmentFile,
) -> Result<(), StorageError> {
    let write = || -> io::Result<()> {
        file.write(0, &header.sector())?;
        file.sync()
    };
    write().map_err(failed("cannot write", &files.path(header.file)))
}
