//! The bytes of a snapshot as they arrive: one chunk in memory, length and checksum verified at the end.

use std::cell::OnceCell;

use postcard::de_flavors::Flavor;

use super::crc::Crc;
use super::error::RestoreError;
use super::format::{CHUNK_BYTES, FORMAT_1, FORMAT_2, MAGIC, START_BYTES, TRAILER_BYTES};

/// A snapshot that is read from its start to its end. The trailer is never handed out.
pub(super) struct Stream<'a> {
    from: &'a mut dyn FnMut(u32) -> Vec<u8>,
    /// Bytes that were received and are not in the checksum. Those before `at` were handed out.
    buffer: Vec<u8>,
    at: usize,
    has_ended: bool,
    crc: Crc,
    /// Bytes before `buffer`.
    passed: u64,
    /// Bytes before the state; 0 until they are known.
    header: u64,
}

impl<'a> Stream<'a> {
    /// Begins to read: the first bytes name the format and the version of the writer, which are returned.
    ///
    /// # Errors
    ///
    /// The bytes are not a snapshot, too few, or of an unknown format.
    pub(super) fn begin(
        from: &'a mut dyn FnMut(u32) -> Vec<u8>,
    ) -> Result<(Self, u32, u32), RestoreError> {
        let mut stream = Self {
            from,
            buffer: Vec::new(),
            at: 0,
            has_ended: false,
            crc: Crc::new(),
            passed: 0,
            header: 0,
        };
        let is_long_enough = stream.holds(START_BYTES);
        if !stream.buffer.starts_with(&MAGIC) {
            return Err(RestoreError::NotASnapshot);
        }
        if !is_long_enough {
            return Err(RestoreError::Truncated {
                length: stream.buffer.len(),
                minimum: START_BYTES + TRAILER_BYTES,
            });
        }
        let format = u32_at(&stream.buffer, MAGIC.len());
        if !(FORMAT_1..=FORMAT_2).contains(&format) {
            return Err(RestoreError::UnknownFormat {
                found: format,
                supported: FORMAT_2,
            });
        }
        let version = u32_at(&stream.buffer, MAGIC.len() + 4);
        stream.at = START_BYTES;
        Ok((stream, format, version))
    }

    /// Whether so many bytes follow before the trailer. Receives them if they do.
    fn holds(&mut self, bytes: usize) -> bool {
        loop {
            let received = self.buffer.len() - self.at;
            if received.saturating_sub(TRAILER_BYTES) >= bytes {
                return true;
            }
            if self.has_ended {
                return false;
            }
            self.receive();
        }
    }

    /// Receives a chunk. What was handed out goes into the checksum and is dropped.
    fn receive(&mut self) {
        self.crc.add(&self.buffer[..self.at]);
        self.passed += self.at as u64;
        self.buffer.drain(..self.at);
        self.at = 0;
        let mut chunk = (self.from)(CHUNK_BYTES as u32);
        self.has_ended = chunk.is_empty();
        if self.buffer.is_empty() {
            self.buffer = chunk;
        } else {
            self.buffer.append(&mut chunk);
        }
    }

    /// The next bytes; nothing if the trailer begins before their end.
    pub(super) fn take(&mut self, bytes: usize) -> Option<&[u8]> {
        if !self.holds(bytes) {
            return None;
        }
        let start = self.at;
        self.at += bytes;
        Some(&self.buffer[start..self.at])
    }

    /// The next byte; nothing if the trailer begins. Numbers are read byte by byte, so this is called most.
    #[inline]
    fn take_byte(&mut self) -> Option<u8> {
        let received = self.buffer.len() - self.at;
        if received <= TRAILER_BYTES && !self.holds(1) {
            return None;
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Some(byte)
    }

    /// The state begins here.
    pub(super) fn end_header(&mut self) {
        self.header = self.passed + self.at as u64;
    }

    /// All bytes up to the trailer, at most so many.
    ///
    /// # Errors
    ///
    /// There are more.
    pub(super) fn take_rest(&mut self, limit: usize) -> Result<Vec<u8>, RestoreError> {
        let mut rest = Vec::new();
        while self.holds(1) {
            let end = self.buffer.len() - TRAILER_BYTES;
            if rest.len() + (end - self.at) > limit {
                return Err(RestoreError::TooLarge { limit });
            }
            rest.extend_from_slice(&self.buffer[self.at..end]);
            self.at = end;
        }
        Ok(rest)
    }

    /// Whether all bytes before the trailer were handed out.
    pub(super) fn is_at_end(&mut self) -> bool {
        !self.holds(1)
    }

    /// Reads to the end, and verifies length and checksum.
    ///
    /// # Errors
    ///
    /// One of them does not match.
    pub(super) fn verify(mut self) -> Result<(), RestoreError> {
        while self.holds(1) {
            self.at = self.buffer.len() - TRAILER_BYTES;
        }
        let trailer = self.buffer.len() - TRAILER_BYTES;
        let sum = self.buffer.len() - 4;
        self.crc.add(&self.buffer[..sum]);
        if self.crc.value() != u32_at(&self.buffer, sum) {
            return Err(corrupt("the checksum does not match"));
        }
        let length = u64::from(u32_at(&self.buffer, trailer))
            | u64::from(u32_at(&self.buffer, trailer + 4)) << 32;
        if self.header > 0 && self.header + length != self.passed + trailer as u64 {
            return Err(corrupt("the length does not match"));
        }
        Ok(())
    }
}

pub(super) fn corrupt(what: &'static str) -> RestoreError {
    RestoreError::Corrupt { what }
}

/// Four bytes as a number. The caller has checked that they exist.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Texts that the decoded type borrows while it is decoded. The types of states own what they contain, so there are few of them.
#[derive(Default)]
pub(super) struct Borrowed(OnceCell<Box<BorrowedText>>);

struct BorrowedText {
    bytes: Box<[u8]>,
    next: Borrowed,
}

impl Drop for Borrowed {
    /// Without recursion, because the list may be long.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut text) = next {
            next = text.next.0.take();
        }
    }
}

/// The state of a stream, for the decoder.
pub(super) struct StateReader<'de, 'a> {
    pub(super) stream: &'de mut Stream<'a>,
    pub(super) borrowed: &'de Borrowed,
}

impl<'de, 'a: 'de> Flavor<'de> for StateReader<'de, 'a> {
    type Remainder = ();
    type Source = &'de [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        let byte = self.stream.take_byte();
        byte.ok_or(postcard::Error::DeserializeUnexpectedEnd)
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        let bytes = self.try_take_n_temp(count)?.into();
        let text = self.borrowed.0.get_or_init(|| {
            Box::new(BorrowedText {
                bytes,
                next: Borrowed::default(),
            })
        });
        self.borrowed = &text.next;
        Ok(&text.bytes)
    }

    fn try_take_n_temp<'b>(&'b mut self, count: usize) -> postcard::Result<&'b [u8]>
    where
        'de: 'b,
    {
        let bytes = self.stream.take(count);
        bytes.ok_or(postcard::Error::DeserializeUnexpectedEnd)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
