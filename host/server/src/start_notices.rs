//! Log messages about flags that a node does not follow, because its data directory contains data.

#[cfg(test)]
mod tests;

use task_queue_raft::raft::membership::Membership;

use crate::settings::{ClusterSpec, FirstStart, ServeSettings};

/// What the data directory and the log contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredCluster<'a> {
    /// The data directory was not empty.
    pub(crate) has_data: bool,
    /// The cluster id; may be empty.
    pub(crate) id: &'a str,
    /// The members.
    pub(crate) members: &'a Membership,
}

/// Logs each flag that differs from what the node uses.
pub(crate) fn log(settings: &ServeSettings, stored: StoredCluster<'_>) {
    if !stored.has_data {
        return;
    }
    if settings.start.bootstrap_flag {
        tracing::warn!(
            "--bootstrap has no effect, because the data directory is not empty. Remove the flag from the start command: \
             if this disk is replaced, the flag would begin a new, empty cluster instead of waiting for this one"
        );
    }
    if !settings.start.takes_members && stored.members.members().len() > 1 {
        tracing::warn!(
            "this cluster has other members, and this node was started without --node-id and --peer-addr: they may not reach \
             it. Start it with both, and with the same data directory"
        );
    }
    if settings.start.first != FirstStart::BootstrapTogether || stored.members.members().is_empty()
    {
        return;
    }
    let wanted = settings.cluster_id.as_str();
    if !stored.id.is_empty() && wanted != stored.id {
        tracing::warn!(
            stored = stored.id,
            from_flags = wanted,
            "the data directory belongs to a cluster that began with another --cluster: this node continues in it. If you \
             meant another cluster, stop the node and correct --data-dir"
        );
    }
    if let Some(difference) = difference(&settings.cluster, stored.members) {
        tracing::warn!(
            difference,
            "--cluster differs from the members in the log: the log counts. Change members with `oarlock members`"
        );
    }
}

/// How the members in `--cluster` differ from those in the log; `None` if they are the same.
fn difference(listed: &ClusterSpec, members: &Membership) -> Option<String> {
    let known = members.members();
    let mut parts = Vec::new();
    for peer in listed.members() {
        let id = peer.node_id.as_str().into();
        match known.get(&id) {
            None => parts.push(format!("{id} is not a member")),
            // An empty address means that each node has its own.
            Some(member) if !member.address.is_empty() => {
                let addr = peer.addr.to_string();
                if addr != member.address {
                    parts.push(format!(
                        "{id} is at {} in the log, not at {addr}",
                        member.address
                    ));
                }
            }
            Some(_) => {}
        }
    }
    let missing = known
        .keys()
        .filter(|id| listed.address_of(id.as_str()).is_none());
    parts.extend(missing.map(|id| format!("the member {id} is not in --cluster")));
    (!parts.is_empty()).then(|| parts.join("; "))
}
