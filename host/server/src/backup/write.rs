//! Makes the bytes of a backup, piece by piece.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::format::{DIGEST_BYTES, HEAD_BYTES, MAGIC, Manifest, VERSION};

/// Largest piece, in bytes.
const PIECE_BYTES: u64 = 256 << 10;

/// The bytes of one backup.
pub(crate) struct BackupWriter {
    head: Option<Bytes>,
    state: Box<dyn Read + Send>,
    /// Bytes of the state that are still to be read.
    left: u64,
    length: u64,
    /// `None` after the last piece.
    digest: Option<Sha256>,
}

impl BackupWriter {
    /// A backup with this description and this state.
    ///
    /// # Errors
    /// The description can't be encoded.
    pub(crate) fn new(manifest: &Manifest, state: Box<dyn Read + Send>) -> io::Result<Self> {
        let text = serde_json::to_vec(manifest)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?;
        let mut head = BytesMut::with_capacity(HEAD_BYTES + text.len());
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_be_bytes());
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&text);
        let length = head.len() as u64 + manifest.state_bytes + DIGEST_BYTES as u64;
        Ok(Self {
            head: Some(head.freeze()),
            state,
            left: manifest.state_bytes,
            length,
            digest: Some(Sha256::new()),
        })
    }

    /// Length of the whole backup, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The next piece; `None` at the end. Reads from the disk.
    ///
    /// # Errors
    /// The state can't be read, or is shorter than its description.
    pub(crate) fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        let Some(digest) = &mut self.digest else {
            return Ok(None);
        };
        let piece = if let Some(head) = self.head.take() {
            head
        } else if self.left > 0 {
            let length = self.left.min(PIECE_BYTES);
            self.left -= length;
            let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            self.state.read_exact(&mut piece)?;
            piece.into()
        } else {
            let sum = self.digest.take().map(Digest::finalize);
            return Ok(sum.map(|sum| Bytes::copy_from_slice(&sum)));
        };
        digest.update(&piece);
        Ok(Some(piece))
    }
}
