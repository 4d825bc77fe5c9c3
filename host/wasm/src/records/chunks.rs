//! The guest's part of a snapshot, in memory: a list of chunks, so that no single large allocation is needed.

use std::sync::Arc;

use bytes::Bytes;
use sha2::Digest;

use crate::records::digest::Sha256;
use crate::records::failure::GuestFailure;

/// Largest chunk in bytes. Small writes of a guest are collected up to this size.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// A complete snapshot of a guest. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SnapshotChunks {
    chunks: Arc<[Bytes]>,
    bytes: u64,
}

impl SnapshotChunks {
    /// Total size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Digest of this snapshot and of the guest version that wrote it.
    pub(crate) fn digest(&self, version: u32) -> Sha256 {
        let mut digest = sha2::Sha256::new();
        digest.update(version.to_le_bytes());
        for chunk in self.iter() {
            digest.update(chunk);
        }
        Sha256(digest.finalize().into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }

    pub(crate) fn reader(&self) -> ChunkReader {
        ChunkReader {
            chunks: self.chunks.clone(),
            chunk: 0,
            offset: 0,
        }
    }
}

/// Collects a snapshot up to a limit.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    full: Vec<Bytes>,
    partial: Vec<u8>,
    bytes: u64,
    limit: u64,
}

impl ChunkWriter {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            full: Vec::new(),
            partial: Vec::new(),
            bytes: 0,
            limit,
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`GuestFailure::TooLarge`] if the total exceeds the limit.
    pub(crate) fn write(&mut self, mut data: &[u8]) -> Result<(), GuestFailure> {
        self.bytes += data.len() as u64;
        if self.bytes > self.limit {
            return Err(GuestFailure::TooLarge {
                what: "the snapshot",
                bytes: self.bytes,
                limit: self.limit,
            });
        }
        while !data.is_empty() {
            let room = CHUNK_BYTES - self.partial.len();
            let (now, later) = data.split_at(room.min(data.len()));
            self.partial.extend_from_slice(now);
            data = later;
            if self.partial.len() == CHUNK_BYTES {
                self.full.push(std::mem::take(&mut self.partial).into());
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> SnapshotChunks {
        if !self.partial.is_empty() {
            self.full.push(self.partial.into());
        }
        SnapshotChunks {
            chunks: self.full.into(),
            bytes: self.bytes,
        }
    }
}

/// Reads a snapshot from its beginning.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    chunks: Arc<[Bytes]>,
    chunk: usize,
    offset: usize,
}

impl ChunkReader {
    /// Returns at most `most` of the next bytes. Unless `most` is 0, an empty result means the end.
    pub(crate) fn next(&mut self, most: usize) -> Bytes {
        while let Some(chunk) = self.chunks.get(self.chunk) {
            let left = chunk.len() - self.offset;
            if left > 0 {
                let length = left.min(most);
                let piece = chunk.slice(self.offset..self.offset + length);
                self.offset += length;
                return piece;
            }
            self.chunk += 1;
            self.offset = 0;
        }
        Bytes::new()
    }
}

impl std::io::Read for ChunkReader {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.next(to.len());
        to[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[cfg(test)]
mod tests;
