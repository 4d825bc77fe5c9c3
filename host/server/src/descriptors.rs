//! File descriptors of a node: its clients must not take those of its peers and files.

/// Descriptors that are kept for peers, log, snapshots, modules and threads.
const RESERVED: u64 = 192;

/// Raises the soft limit of open files to the hard limit. Returns the limit that applies; `None` if it is unknown.
pub(crate) fn raise_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    #[allow(
        unsafe_code,
        reason = "the standard library has no access to resource limits"
    )]
    // SAFETY: the pointer is to a local value of the type that the call fills.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if read != 0 {
        return None;
    }
    let wanted = libc::rlimit {
        rlim_cur: limit.rlim_max,
        rlim_max: limit.rlim_max,
    };
    #[allow(
        unsafe_code,
        reason = "the standard library has no access to resource limits"
    )]
    // SAFETY: the pointer is to a local value of the type that the call reads.
    let raised = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) } == 0;
    let applies = if raised {
        wanted.rlim_cur
    } else {
        limit.rlim_cur
    };
    #[allow(
        clippy::useless_conversion,
        reason = "the type differs between operating systems"
    )]
    Some(applies.into())
}

/// How many clients may connect: as many as `--max-connections` allows, if peers and files keep their descriptors.
pub(crate) fn client_connections(wanted: u32, limit: Option<u64>) -> u32 {
    let Some(limit) = limit else {
        return wanted;
    };
    let left = limit.saturating_sub(RESERVED).max(limit / 4).max(1);
    wanted.min(u32::try_from(left).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_to_peers_and_files() {
        assert_eq!(client_connections(10_000, None), 10_000);
        assert_eq!(client_connections(10_000, Some(1 << 20)), 10_000);
        assert_eq!(client_connections(10_000, Some(1024)), 832);
        assert_eq!(client_connections(100, Some(1024)), 100);
        assert_eq!(client_connections(10_000, Some(200)), 50);
        assert_eq!(client_connections(10_000, Some(0)), 1);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_limit() {
        let first = raise_limit().expect("a limit");
        assert_eq!(raise_limit(), Some(first));
        assert!(first > 0);
    }
}
