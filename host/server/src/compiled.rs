//! Compiled code on this node's disk: `compiled` in the data directory, or the directory of `--compiled-dir`.
//!
//! The directory belongs to this user alone (mode 0700) and is never replicated, backed up or sent. It may be removed at
//! any time: what is missing is compiled again. Files are written whole under another name first; they have checksums, so
//! nothing waits for the disk.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::SystemTime;

use oarlock_wasm::CompiledStore;

/// Bytes that the directory may hold. A module of Python compiles to about 60 MB.
const MOST_BYTES: u64 = 512 << 20;
/// How the names of its files end, half-written ones included. `--compiled-dir` may name a directory that holds other
/// files, and those are nobody's business here.
const ENDING: &str = ".code";

/// See the module.
#[derive(Debug)]
pub(crate) struct CompiledDir {
    dir: PathBuf,
    most_bytes: u64,
}

impl CompiledDir {
    /// That directory. Nothing is made before something is to be kept.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            most_bytes: MOST_BYTES,
        }
    }

    /// Makes sure that only this user can write there: whoever can't change the mode doesn't own it.
    fn take_possession(&self) -> io::Result<()> {
        if !fs::symlink_metadata(&self.dir)?.is_dir() {
            let words = "it is no directory; remove it, and compiled code is kept there again";
            return Err(io::Error::new(ErrorKind::NotADirectory, words));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}{ENDING}"))
    }

    fn try_read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.take_possession()?;
        let path = self.path(name);
        let bytes = fs::read(&path)?;
        // What is used stays longest. That it can't be noted does no harm.
        if let Ok(file) = File::options().append(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(bytes)
    }

    fn try_write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let room = self.most_bytes.checked_sub(bytes.len() as u64);
        let Some(room) = room else {
            let words = "it alone is larger than all compiled code may be";
            return Err(io::Error::new(ErrorKind::FileTooLarge, words));
        };
        fs::create_dir_all(&self.dir)?;
        self.take_possession()?;
        self.make_room(room)?;
        let mut file = tempfile::Builder::new()
            .suffix(ENDING)
            .tempfile_in(&self.dir)?;
        io::Write::write_all(&mut file, bytes)?;
        file.persist(self.path(name))?;
        Ok(())
    }

    /// Removes what was not used for longest, half-written files of a node that was killed among it, until so many bytes
    /// are left at most.
    fn make_room(&self, most_bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().ends_with(ENDING) {
                continue;
            }
            let metadata = entry.metadata()?;
            files.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if held <= most_bytes {
                break;
            }
            fs::remove_file(path)?;
            held -= bytes;
        }
        Ok(())
    }
}

#[allow(unsafe_code, reason = "the promise that a store makes")]
// SAFETY: the directory belongs to this user with mode 0700, which each access
// makes sure of before anything is read, so nobody else writes there; and this program writes there what it is told to.
// Whoever acts as this user, or as root, can replace the program itself.
unsafe impl CompiledStore for CompiledDir {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        match self.try_read(name) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "compiled code can't be read, compiling");
                None
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.try_write(name, bytes) {
            tracing::warn!(%error, dir = %self.dir.display(), "compiled code can't be kept, the next start compiles again");
        }
    }

    fn discard(&self, name: &str) {
        if let Err(error) = fs::remove_file(self.path(name)) {
            tracing::warn!(%error, dir = %self.dir.display(), "damaged compiled code can't be removed");
        }
    }
}

#[cfg(test)]
mod tests;
