//! Frames of a snapshot, each with a checksum. [`snapshot`](crate::machine::snapshot) describes their bytes.

use std::io::{self, Read, Write};

use crate::records::chunks::{CHUNK_BYTES, ChunkWriter, SnapshotChunks};
use crate::records::snapshot_error::MachineSnapshotError;
use crate::records::wire;

/// The section that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Section {
    Header = 1,
    Keys = 2,
    Deferred = 3,
    Guest = 4,
    End = 5,
    Module = 6,
    UpgradeSummary = 7,
    HostState = 8,
}

/// CRC-32C of a frame and its number; with the number, two swapped frames are detected.
fn checksum(number: u64, section: u8, payload: &[u8]) -> u32 {
    let mut checksum = crc32c::crc32c(&number.to_le_bytes());
    checksum = crc32c::crc32c_append(checksum, &[section]);
    checksum = crc32c::crc32c_append(checksum, &(payload.len() as u32).to_le_bytes());
    crc32c::crc32c_append(checksum, payload)
}

/// Writes frames.
pub(crate) struct SnapshotFrameWriter<'a> {
    to: &'a mut dyn Write,
    frames: u64,
}

impl<'a> SnapshotFrameWriter<'a> {
    pub(crate) fn new(to: &'a mut dyn Write) -> Self {
        Self { to, frames: 0 }
    }

    /// Begins a section; its contents are written to the result.
    pub(crate) fn section(&mut self, section: Section) -> SectionWriter<'_, 'a> {
        SectionWriter {
            frames: self,
            section,
            frame: Vec::new(),
            bytes: 0,
        }
    }

    fn write(&mut self, section: Section, payload: &[u8]) -> io::Result<()> {
        let section = section as u8;
        wire::put_u8(self.to, section)?;
        // The payload is at most CHUNK_BYTES, so its length fits.
        wire::put_u32(self.to, payload.len() as u32)?;
        self.to.write_all(payload)?;
        wire::put_u32(self.to, checksum(self.frames, section, payload))?;
        self.frames += 1;
        Ok(())
    }
}

/// Splits what is written into frames of one section.
pub(crate) struct SectionWriter<'f, 'a> {
    frames: &'f mut SnapshotFrameWriter<'a>,
    section: Section,
    frame: Vec<u8>,
    bytes: u64,
}

impl SectionWriter<'_, '_> {
    fn write_frame(&mut self) -> io::Result<()> {
        self.frames.write(self.section, &self.frame)?;
        self.bytes += self.frame.len() as u64;
        self.frame.clear();
        Ok(())
    }

    /// Writes the last frame and returns the length of the section in bytes. An empty section has no frame.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if !self.frame.is_empty() {
            self.write_frame()?;
        }
        Ok(self.bytes)
    }
}

impl Write for SectionWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.frame.len();
        let length = room.min(bytes.len());
        self.frame.extend_from_slice(&bytes[..length]);
        if self.frame.len() == CHUNK_BYTES {
            self.write_frame()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads frames, with a lookahead of one.
pub(crate) struct SnapshotFrameReader<'a> {
    from: &'a mut dyn Read,
    /// A frame already read that belongs to a later section.
    next: Option<(u8, Vec<u8>)>,
    frames: u64,
}

impl<'a> SnapshotFrameReader<'a> {
    pub(crate) fn new(from: &'a mut dyn Read) -> Self {
        Self {
            from,
            next: None,
            frames: 0,
        }
    }

    /// Reads all frames of a section, which may be empty.
    pub(crate) fn section(
        &mut self,
        section: Section,
        limit: u64,
    ) -> Result<SnapshotChunks, MachineSnapshotError> {
        let mut payloads = ChunkWriter::new(limit);
        loop {
            let frame = match self.next.take() {
                Some(frame) => Some(frame),
                None => self.read_frame()?,
            };
            match frame {
                Some((found, payload)) if found == section as u8 => payloads
                    .write(&payload)
                    .map_err(|_| MachineSnapshotError::TooLarge { limit })?,
                other => {
                    self.next = other;
                    return Ok(payloads.finish());
                }
            }
        }
    }

    /// Checks that no frame is left.
    pub(crate) fn end(mut self) -> Result<(), MachineSnapshotError> {
        let left = match self.next.take() {
            Some(frame) => Some(frame),
            None => self.read_frame()?,
        };
        match left {
            None => Ok(()),
            Some(_) => Err(self.corrupt("a section is unknown, or out of order")),
        }
    }

    fn corrupt(&self, fault: &'static str) -> MachineSnapshotError {
        MachineSnapshotError::Corrupt {
            frame: self.frames.saturating_sub(1),
            fault,
        }
    }

    /// Reads the next frame; `None` at the end of the input.
    fn read_frame(&mut self) -> Result<Option<(u8, Vec<u8>)>, MachineSnapshotError> {
        let mut section = [0];
        if self.from.take(1).read(&mut section)? == 0 {
            return Ok(None);
        }
        let number = self.frames;
        self.frames += 1;
        let [section] = section;
        let length = wire::take_u32(self.from)? as usize;
        if length > CHUNK_BYTES {
            return Err(self.corrupt("its length is over the limit of a frame"));
        }
        let mut payload = vec![0; length];
        self.from.read_exact(&mut payload)?;
        if wire::take_u32(self.from)? != checksum(number, section, &payload) {
            return Err(self.corrupt("its checksum does not match"));
        }
        Ok(Some((section, payload)))
    }
}
