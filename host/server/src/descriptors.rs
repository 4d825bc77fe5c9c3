//! File descriptors of a node: its clients must not take those of its peers and files.

use crate::resource_limits::{self, Resource, ResourceLimit};

/// Descriptors that are kept for peers, log, snapshots, modules and threads.
const RESERVED: u64 = 192;

/// Raises the soft limit of open files to the hard limit. Returns the limit that applies; `None` if it is unknown.
pub(crate) fn raise_limit() -> Option<u64> {
    let limit = resource_limits::get(Resource::OpenFiles).ok()?;
    let wanted = ResourceLimit {
        soft: limit.hard,
        hard: limit.hard,
    };
    match resource_limits::set(Resource::OpenFiles, wanted) {
        Ok(()) => Some(wanted.soft),
        Err(_) => Some(limit.soft),
    }
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
