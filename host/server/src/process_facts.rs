//! What the operating system tells about this process, a disk and a directory. What it does not tell is `None`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::doctor::facts::{ProcessFacts, SpaceFacts};
use crate::resource_limits::{self, Resource};

/// Memory and descriptors of this process, and their limits.
pub(crate) fn of_this_process() -> ProcessFacts {
    ProcessFacts {
        memory_bytes: memory_bytes(),
        memory_limit_bytes: memory_limit_bytes(),
        descriptors: open_descriptors(),
        descriptor_limit: resource_limits::get(Resource::OpenFiles)
            .ok()
            .map(|limit| limit.soft),
    }
}

/// The value of a line `Name:   123 kB` of a file of `/proc`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number = line.trim_start_matches(':').split_whitespace().next()?;
    number.parse::<u64>().ok()?.checked_mul(1024)
}

/// Resident memory.
fn memory_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

/// The limit of the control group (version 2), or the memory of the machine.
fn memory_limit_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| kilobytes(&text, "MemTotal"));
    match (group_limit(), machine) {
        (Some(group), Some(machine)) => Some(group.min(machine)),
        (group, machine) => group.or(machine),
    }
}

fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
    // `max` is no number: there is no limit.
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn open_descriptors() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them reads the directory.
    Some((open as u64).saturating_sub(1))
}

/// The space of the file system that contains a path.
///
/// # Errors
/// The path does not exist, or the operating system does not tell it.
pub(crate) fn space(path: &Path) -> io::Result<SpaceFacts> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    #[allow(
        unsafe_code,
        reason = "the standard library can't read the space of a file system"
    )]
    // SAFETY: `name` ends with a zero byte, and the pointer is to a local value of the type that the call fills.
    let failed = unsafe { libc::statvfs(name.as_ptr(), found.as_mut_ptr()) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(unsafe_code, reason = "as above")]
    // SAFETY: the call has succeeded, so it has filled the value.
    let found = unsafe { found.assume_init() };
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the types differ between operating systems"
    )]
    let (block, free, all) = (
        found.f_frsize as u64,
        found.f_bavail as u64,
        found.f_blocks as u64,
    );
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between operating systems"
    )]
    let (files, free_files) = (found.f_files as u64, found.f_favail as u64);
    Ok(SpaceFacts {
        free_bytes: free.saturating_mul(block),
        total_bytes: all.saturating_mul(block),
        free_files: (files > 0).then_some(free_files),
    })
}

/// A directory, recognized after another one may have taken its place.
#[derive(Debug)]
pub(crate) struct OpenedDirectory {
    path: PathBuf,
    /// Device and inode when it was opened.
    opened: Option<(u64, u64)>,
}

impl OpenedDirectory {
    /// The directory that is at the path now.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            opened: fs::metadata(path)
                .ok()
                .map(|found| (found.dev(), found.ino())),
        }
    }

    /// The path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still at its path, and its mode.
    pub(crate) fn look(&self) -> (bool, Option<u32>) {
        match fs::metadata(&self.path) {
            Ok(found) => {
                let same = self.opened == Some((found.dev(), found.ino()));
                (same, Some(found.mode() & 0o7777))
            }
            Err(_) => (false, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory_and_descriptors_below_its_limits() {
        let facts = of_this_process();
        assert!(facts.memory_bytes <= facts.memory_limit_bytes, "{facts:?}");
        assert!(facts.descriptors <= facts.descriptor_limit, "{facts:?}");
        if cfg!(target_os = "linux") {
            assert!(facts.memory_bytes > Some(1 << 20), "{facts:?}");
            assert!(facts.descriptors > Some(2), "{facts:?}");
        }
    }

    #[test]
    fn a_line_of_proc_is_read_in_bytes() {
        let text = "VmPeak:\t  10 kB\nVmRSS:\t    2 kB\n";
        assert_eq!(kilobytes(text, "VmRSS"), Some(2048));
        assert_eq!(kilobytes(text, "VmSwap"), None);
    }

    #[test]
    fn a_directory_that_was_replaced_is_another_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data");
        fs::create_dir(&path).expect("a directory");
        let opened = OpenedDirectory::at(&path);
        assert!(opened.look().0);
        // Kept, so that the new directory can't get the same inode.
        fs::rename(&path, dir.path().join("old")).expect("renamed");
        assert_eq!(opened.look(), (false, None));
        fs::create_dir(&path).expect("a directory");
        assert!(!opened.look().0);
    }

    #[test]
    fn a_file_system_has_free_space() {
        let dir = tempfile::tempdir().expect("a directory");
        let space = space(dir.path()).expect("its space");
        assert!(
            space.total_bytes > 0 && space.free_bytes <= space.total_bytes,
            "{space:?}"
        );
        super::space(&dir.path().join("missing")).expect_err("no such path");
    }
}
