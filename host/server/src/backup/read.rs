//! Reads a backup and checks it.

use std::io::{self, ErrorKind, Read};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::format::{DIGEST_BYTES, HEAD_BYTES, MAGIC, MAX_MANIFEST_BYTES, Manifest, VERSION};

/// Why a file is not a complete backup.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    /// It begins with other bytes.
    #[error("it is not a backup; pass a file that `oarlock backup` has written")]
    NotABackup,
    /// A later release has written it.
    #[error("it has format {found}, and this release reads {VERSION}; use a later release")]
    TooNew {
        /// The format.
        found: u32,
    },
    /// It ends early.
    #[error("it ends early: the backup was interrupted, or the file was cut; use another backup")]
    CutShort,
    /// Its bytes are not those that were written.
    #[error("it is damaged: {0}; use another backup")]
    Damaged(&'static str),
    /// It can't be read.
    #[error("it can't be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the state of a backup. The last bytes of the state are returned only if the digest is right.
pub(crate) struct BackupReader<R> {
    from: R,
    left: u64,
    digest: Sha256,
    is_checked: bool,
}

impl<R: Read> BackupReader<R> {
    /// Reads the description. It is not checked before the whole state has been read.
    ///
    /// # Errors
    /// It is no backup.
    pub(crate) fn open(mut from: R) -> Result<(Manifest, Self), BackupError> {
        let mut head = [0; HEAD_BYTES];
        take(&mut from, &mut head)?;
        let (magic, numbers) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(BackupError::NotABackup);
        }
        let number = |at: usize| {
            numbers[at..at + 4]
                .iter()
                .fold(0, |n, b| n << 8 | u32::from(*b))
        };
        if number(0) != VERSION {
            return Err(BackupError::TooNew { found: number(0) });
        }
        let length = number(4) as usize;
        if length > MAX_MANIFEST_BYTES {
            return Err(BackupError::Damaged(
                "the length of its description is wrong",
            ));
        }
        let mut text = vec![0; length];
        take(&mut from, &mut text)?;
        let mut digest = Sha256::new();
        digest.update(head);
        digest.update(&text);
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|_| BackupError::Damaged("its description is not valid"))?;
        let reader = Self {
            from,
            left: manifest.state_bytes,
            digest,
            is_checked: false,
        };
        Ok((manifest, reader))
    }

    /// Reads the whole state and checks the digest.
    ///
    /// # Errors
    /// The file is not complete, or damaged.
    pub(crate) fn check(mut self) -> Result<(), BackupError> {
        let mut buffer = vec![0; 64 << 10];
        while self.next(&mut buffer)? > 0 {}
        Ok(())
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, BackupError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(BackupError::CutShort);
        }
        self.digest.update(&buffer[..read]);
        self.left -= read as u64;
        if self.left == 0 && !self.is_checked {
            self.check_digest()?;
        }
        Ok(read)
    }

    fn check_digest(&mut self) -> Result<(), BackupError> {
        let mut found = [0; DIGEST_BYTES];
        take(&mut self.from, &mut found)?;
        if self.digest.clone().finalize()[..] != found {
            return Err(BackupError::Damaged("its digest is wrong"));
        }
        if self.from.read(&mut [0])? > 0 {
            return Err(BackupError::Damaged("bytes follow its end"));
        }
        self.is_checked = true;
        Ok(())
    }
}

impl<R: Read> Read for BackupReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next(buffer).map_err(|error| match error {
            BackupError::Io(error) => error,
            error => io::Error::new(ErrorKind::InvalidData, error),
        })
    }
}

fn take(from: &mut impl Read, to: &mut [u8]) -> Result<(), BackupError> {
    from.read_exact(to).map_err(|error| {
        if error.kind() == ErrorKind::UnexpectedEof {
            BackupError::CutShort
        } else {
            BackupError::Io(error)
        }
    })
}
