//! Files of a node that only its own user may read: the state and the log contain everything that clients have sent.

use std::fs::{self, DirEntry, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Permissions of group and others.
const OTHERS: u32 = 0o077;

/// From now on, this process creates files with mode 0600 and directories with mode 0700.
pub(crate) fn make_new_files_private() {
    #[allow(
        unsafe_code,
        reason = "the standard library can't set the file mode creation mask"
    )]
    // SAFETY: `umask` only takes a number and can't fail.
    unsafe {
        libc::umask(0o077);
    }
}

/// Takes the permissions of group and others from a data directory, its log and its snapshots. An earlier release or the
/// operator may have created it. Other files are left as they are: the directory protects them.
///
/// # Errors
/// The directory belongs to another user, or can't be read.
pub(crate) fn restrict(data_dir: &Path) -> io::Result<()> {
    restrict_one(data_dir, &fs::metadata(data_dir)?)?;
    for name in ["raft.redb", "snapshots", "log"] {
        match fs::symlink_metadata(data_dir.join(name)) {
            Ok(metadata) if metadata.is_symlink() => {}
            Ok(metadata) => restrict_one(&data_dir.join(name), &metadata)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    restrict_files(&data_dir.join("snapshots"))?;
    let logs = data_dir.join("log");
    if !logs.is_dir() || logs.is_symlink() {
        return Ok(());
    }
    for log in fs::read_dir(&logs)? {
        let log = log?;
        if log.file_type()?.is_dir() {
            restrict_one(&log.path(), &log.metadata()?)?;
            restrict_files(&log.path())?;
        }
    }
    Ok(())
}

fn restrict_files(dir: &Path) -> io::Result<()> {
    match fs::read_dir(dir) {
        Ok(mut files) => files.try_for_each(|file| restrict_file(&file?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn restrict_file(entry: &DirEntry) -> io::Result<()> {
    let metadata = match entry.metadata() {
        // A file that was replaced meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if metadata.is_file() {
        restrict_one(&entry.path(), &metadata)?;
    }
    Ok(())
}

fn restrict_one(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let mode = metadata.mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(mode & 0o777 & !OTHERS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").mode() & 0o777
    }

    #[test]
    fn a_directory_that_others_could_read_is_restricted_and_foreign_files_stay_as_they_are() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("snapshots")).expect("a directory");
        fs::create_dir_all(at("log/1")).expect("a directory");
        for name in [
            "raft.redb",
            "snapshots/1.snap",
            "log/1/1.segment",
            "notes.txt",
        ] {
            fs::write(at(name), "x").expect("a file");
            fs::set_permissions(at(name), Permissions::from_mode(0o644)).expect("a mode");
        }
        for name in ["", "snapshots", "log", "log/1"] {
            fs::set_permissions(at(name), Permissions::from_mode(0o755)).expect("a mode");
        }
        restrict(dir.path()).expect("it is ours");
        for name in ["", "snapshots", "log", "log/1"] {
            assert_eq!(mode(&at(name)), 0o700, "{name}");
        }
        for name in ["raft.redb", "snapshots/1.snap", "log/1/1.segment"] {
            assert_eq!(mode(&at(name)), 0o600, "{name}");
        }
        assert_eq!(mode(&at("notes.txt")), 0o644);
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = dir.path().join("target");
        fs::write(&target, "x").expect("a file");
        fs::set_permissions(&target, Permissions::from_mode(0o644)).expect("a mode");
        let data = dir.path().join("data");
        fs::create_dir(&data).expect("a directory");
        std::os::unix::fs::symlink(&target, data.join("raft.redb")).expect("a link");
        restrict(&data).expect("it is ours");
        assert_eq!(mode(&target), 0o644);
    }
}
