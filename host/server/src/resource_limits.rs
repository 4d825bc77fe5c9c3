//! The limits that the operating system sets to this process.

use std::io;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    /// Open files.
    OpenFiles,
    /// Writable memory, in bytes: on Linux the heap, private mappings and stacks.
    Memory,
    /// Processor time of all threads, in seconds. Past the soft limit the process is killed.
    ProcessorTime,
    /// Size of a core dump, in bytes.
    CoreDump,
}

/// A limit: the soft one applies, and this process may raise it up to the hard one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceLimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// Calls `$call` with the number of the resource, whose type differs between operating systems.
macro_rules! with_number {
    ($resource:expr, $call:expr, $limit:expr) => {
        match $resource {
            Resource::OpenFiles => $call(libc::RLIMIT_NOFILE, $limit),
            Resource::Memory => $call(libc::RLIMIT_DATA, $limit),
            Resource::ProcessorTime => $call(libc::RLIMIT_CPU, $limit),
            Resource::CoreDump => $call(libc::RLIMIT_CORE, $limit),
        }
    };
}

/// The limit that applies now.
///
/// # Errors
/// The operating system does not tell it.
pub(crate) fn get(resource: Resource) -> io::Result<ResourceLimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    #[allow(
        unsafe_code,
        reason = "the standard library has no access to resource limits"
    )]
    // SAFETY: the pointer is to a local value of the type that the call fills.
    let failed = unsafe { with_number!(resource, libc::getrlimit, &raw mut limit) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(
        clippy::useless_conversion,
        reason = "the type differs between operating systems"
    )]
    Ok(ResourceLimit {
        soft: limit.rlim_cur.into(),
        hard: limit.rlim_max.into(),
    })
}

/// Sets a limit for this process and its children.
///
/// # Errors
/// The hard limit can't be raised, or the operating system does not have this limit.
pub(crate) fn set(resource: Resource, limit: ResourceLimit) -> io::Result<()> {
    #[allow(
        clippy::useless_conversion,
        reason = "the type differs between operating systems"
    )]
    let limit = libc::rlimit {
        rlim_cur: limit.soft.into(),
        rlim_max: limit.hard.into(),
    };
    #[allow(
        unsafe_code,
        reason = "the standard library has no access to resource limits"
    )]
    // SAFETY: the pointer is to a local value of the type that the call reads.
    let failed = unsafe { with_number!(resource, libc::setrlimit, &raw const limit) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives this process a low priority: an upgrade must make progress on a busy machine, too.
pub(crate) fn lower_priority() {
    /// A process gets a third of what a busy other one gets.
    const NICE: libc::c_int = 5;
    set_priority(NICE);
}

/// Gives this thread a lower priority than the other threads of the process: a tenth of what a busy other one gets. Does
/// nothing where priorities are those of processes.
pub(crate) fn lower_priority_of_thread() {
    /// Less than [`lower_priority`]: clients wait for what such a thread does.
    const NICE: libc::c_int = 10;
    if cfg!(target_os = "linux") {
        set_priority(NICE);
    }
}

/// Of this process; on Linux of this thread, and of those that it starts.
fn set_priority(nice: libc::c_int) {
    #[allow(
        unsafe_code,
        reason = "the standard library has no access to priorities"
    )]
    // SAFETY: the call takes numbers only. A failure changes nothing.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, nice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_set_applies() {
        let before = get(Resource::CoreDump).expect("a limit");
        let lower = ResourceLimit {
            soft: 0,
            hard: before.hard,
        };
        set(Resource::CoreDump, lower).expect("a lower limit");
        assert_eq!(get(Resource::CoreDump).expect("a limit"), lower);
        set(Resource::CoreDump, before).expect("the limit before");
    }
}
