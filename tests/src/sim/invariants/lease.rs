//! While a leader holds a lease, no other node is elected (dissertation §6.4.1): so a response that it gives
//! without a round of messages is the one that a majority would confirm.

use std::time::Duration;

use task_queue_raft::raft::{Core, Role};

use crate::sim::violation::{Violation, ensure};

/// Name of the invariant that this module checks.
pub(crate) const NO_ELECTION_IN_LEASE: &str =
    "no other node is elected during a lease (dissertation §6.4.1)";

/// Looks at all nodes at one moment, each with what its own clock shows.
pub(crate) fn check<'a>(
    nodes: impl Iterator<Item = (&'a Core, Duration)>,
) -> Result<(), Violation> {
    let leaders: Vec<_> = nodes
        .filter(|(core, _)| core.role() == Role::Leader)
        .collect();
    let newest = leaders.iter().map(|(core, _)| core.term()).max();
    for (core, now) in &leaders {
        let until = core.lease_until().filter(|until| until > now);
        ensure(
            until.is_none() || Some(core.term()) == newest,
            NO_ELECTION_IN_LEASE,
            || {
                format!(
                    "{} leads term {} and has a lease until {until:?}, its clock shows {now:?}, and term {newest:?} has a leader",
                    core.id(),
                    core.term()
                )
            },
        )?;
    }
    Ok(())
}
