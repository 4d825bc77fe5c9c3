//! A cache of compiled code on disk: `compiled` in the data directory, or the directory of `--compiled-dir`.
//!
//! Only this user has access to the directory (mode 0700). It is never replicated, backed up or sent, and may be
//! removed at any time: missing code is compiled again. A file is written under a temporary name and then renamed.
//! Files have checksums, so writes need no sync.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::SystemTime;

use oarlock_wasm::CompiledStore;

/// Most bytes in the directory; the least recently used files are removed. A Python module compiles to about 60 MB.
const MAX_BYTES: u64 = 512 << 20;
/// Suffix of the cache's files, including temporary ones. All other files in the directory are ignored, because
/// `--compiled-dir` may name a directory that the user uses for other files too.
const SUFFIX: &str = ".code";

/// The cache.
#[derive(Debug)]
pub(crate) struct CompiledDir {
    dir: PathBuf,
    max_bytes: u64,
}

impl CompiledDir {
    /// A cache in this directory. The directory is created with the first write.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            max_bytes: MAX_BYTES,
        }
    }

    /// Ensures that only this user has access: setting the mode fails unless this user owns the directory.
    fn restrict_access(&self) -> io::Result<()> {
        if !fs::symlink_metadata(&self.dir)?.is_dir() {
            let message = "not a directory; remove it to use the cache again";
            return Err(io::Error::new(ErrorKind::NotADirectory, message));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{SUFFIX}"))
    }

    fn try_read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.restrict_access()?;
        let path = self.path(name);
        let bytes = fs::read(&path)?;
        // The modification time is the time of the last use. An error only affects the order of removal.
        if let Ok(file) = File::options().append(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(bytes)
    }

    fn try_write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let room = self.max_bytes.checked_sub(bytes.len() as u64);
        let Some(room) = room else {
            let message =
                "the compiled code of this module alone is larger than the limit of the cache";
            return Err(io::Error::new(ErrorKind::FileTooLarge, message));
        };
        fs::create_dir_all(&self.dir)?;
        self.restrict_access()?;
        self.make_room(room)?;
        let mut file = tempfile::Builder::new()
            .suffix(SUFFIX)
            .tempfile_in(&self.dir)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(self.path(name))?;
        Ok(())
    }

    /// Removes the least recently used files until at most `max_bytes` are left. This also removes temporary files of a
    /// process that was killed.
    fn make_room(&self, max_bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().ends_with(SUFFIX) {
                continue;
            }
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if held <= max_bytes {
                break;
            }
            fs::remove_file(path)?;
            held -= bytes;
        }
        Ok(())
    }
}

#[allow(
    unsafe_code,
    reason = "the trait is unsafe: only trusted code may be returned"
)]
// SAFETY: `read` returns only bytes that this user wrote. Each access first ensures that this user owns the directory
// and that its mode is 0700, so other users can't write to it. A process that runs as this user, or as root, could
// replace the program itself.
unsafe impl CompiledStore for CompiledDir {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        match self.try_read(name) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot read compiled code, compiling the module again");
                None
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.try_write(name, bytes) {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot write compiled code, the next start compiles the module again");
        }
    }

    fn discard(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.path(name)) {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot remove corrupt compiled code");
        }
    }
}

#[cfg(test)]
mod tests;
