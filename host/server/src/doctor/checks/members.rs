//! Members: who runs, who leads, and how many more may be lost.

use super::super::check::{Check, Hit, duration, each_node};
use super::super::facts::{NodeAnswer, NodeFacts, PeerFacts};
use super::super::finding::FindingSeverity::{Critical, Notice, Warning};
use super::super::view::{ClusterView, is_silent};

/// How long a member may make no progress.
const STALLED_MS: u64 = 15_000;
/// How long a node may take to catch up after its start.
const STARTING_MS: u64 = 60_000;
/// So many elections in the time that a node remembers are too many.
const MANY_ELECTIONS: u64 = 5;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "quorum-lost",
        severity: Critical,
        condition: "Fewer voters than a majority respond.",
        why: "Without a majority no leader can be elected, so commands and linearizable queries fail.",
        remedy: "Start the voters that do not run, each on its own data directory. If their disks are lost for good, compare the \
                 directories that are left.",
        examine: quorum_lost,
    },
    Check {
        id: "no-leader",
        severity: Critical,
        condition: "A majority of the voters responds, and no node knows a leader.",
        why: "Without a leader, commands and linearizable queries fail.",
        remedy: "If it lasts for more than some seconds, the voters can't reach each other: check their addresses for peers, their \
                 certificates and the network between them.",
        examine: no_leader,
    },
    Check {
        id: "other-cluster",
        severity: Critical,
        condition: "The nodes belong to different clusters.",
        why: "A node of another cluster replicates nothing from this one, and commands that reach it are applied elsewhere.",
        remedy: "Correct `--endpoints`. If the node should be a member of this cluster, its data directory is that of another one.",
        examine: other_cluster,
    },
    Check {
        id: "bootstrap-differs",
        severity: Critical,
        condition: "A node was started with other initial members than the rest.",
        why: "The nodes do not begin a cluster until all of them name the same members.",
        remedy: "Start every node with the same `--cluster`.",
        examine: bootstrap_differs,
    },
    Check {
        id: "no-margin",
        severity: Warning,
        condition: "Just a majority of three or more voters responds.",
        why: "If one more voter stops, the cluster stops to serve.",
        remedy: "Start the voters that do not run, or replace them.",
        examine: no_margin,
    },
    Check {
        id: "node-unreachable",
        severity: Warning,
        condition: "A member does not respond.",
        why: "It gives no answers to clients, and does not count for a majority if the other nodes can't reach it either.",
        remedy: "Start it, or check its address for clients and the network. Other checks can't look at it until then.",
        examine: node_unreachable,
    },
    Check {
        id: "not-examined",
        severity: Warning,
        condition: "A node responds, and gives no report.",
        why: "What is wrong on this node is not in this report.",
        remedy: "If access is denied, use a certificate or a token with the role `reader`. If the node is of an older release, upgrade \
                 it. If it is no node, correct the address.",
        examine: not_examined,
    },
    Check {
        id: "few-voters",
        severity: Notice,
        condition: "The cluster has one voter, or an even number of them.",
        why: "One voter has no copy. Of an even number, no more may be lost than of one fewer.",
        remedy: "Three voters survive the loss of one, five that of two.",
        examine: few_voters,
    },
    Check {
        id: "voters-without-data",
        severity: Warning,
        condition: "A voter has an empty store and has not rejoined.",
        why: "It does not vote until the leader has readmitted it, so it does not count for a majority.",
        remedy: "Wait until it has caught up. If there is no leader, start the voters that still have their data directories.",
        examine: voters_without_data,
    },
    Check {
        id: "cannot-vote",
        severity: Warning,
        condition: "A voter waits for the bootstrap, or to rejoin with a new store.",
        why: "It does not count for a majority.",
        remedy: "Start the initial members that do not run. A node with a new store rejoins as soon as there is a leader.",
        examine: cannot_vote,
    },
    Check {
        id: "waits-to-be-added",
        severity: Notice,
        condition: "A node waits to be added to a cluster.",
        why: "It replicates nothing until then.",
        remedy: "Add it to the members.",
        examine: waits_to_be_added,
    },
    Check {
        id: "removed-node",
        severity: Warning,
        condition: "A node runs and is no member of the cluster.",
        why: "Its state gets older and older, and it answers clients with it.",
        remedy: "Stop its process and revoke its certificate. To use the machine again, start the node with a new id and add it.",
        examine: removed_node,
    },
    Check {
        id: "address-moved",
        severity: Warning,
        condition: "A member has another address for peers than the log of the cluster.",
        why: "The others reach it only because it has told them its new address. A node that restarts does not know it.",
        remedy: "Start the member at the address in the log, or replace it by a member with the new address.",
        examine: address_moved,
    },
    Check {
        id: "learner-stalled",
        severity: Warning,
        condition: "A learner makes no progress although entries wait for it.",
        why: "It can't become a voter, and a replacement that waits for it does not end.",
        remedy: "Check that it runs, and that its address for peers is the one in the log. If it is not needed, remove it.",
        examine: learner_stalled,
    },
    Check {
        id: "voter-stalled",
        severity: Warning,
        condition: "A voter makes no progress although entries wait for it.",
        why: "It does not count for a majority, and keeps the leader from purging its log.",
        remedy: "Check that it runs, its disk, and the network between the leader and it.",
        examine: voter_stalled,
    },
    Check {
        id: "learner-ready",
        severity: Notice,
        condition: "A learner has caught up.",
        why: "It has a copy of the state, and no vote.",
        remedy: "Promote it if it should be a voter.",
        examine: learner_ready,
    },
    Check {
        id: "leader-changes",
        severity: Warning,
        condition: "Leaders change often.",
        why: "Each change delays commands by an election timeout.",
        remedy: "Look for a slow disk, an overloaded processor or a network that loses packets. Election timeouts must be longer than \
                 the longest pause of a node.",
        examine: leader_changes,
    },
    Check {
        id: "not-ready",
        severity: Warning,
        condition: "A node has a leader and has not caught up.",
        why: "Load balancers do not send requests to it, and its answers may be old.",
        remedy: "Wait if its lag gets smaller. Otherwise look at its log.",
        examine: not_ready,
    },
    Check {
        id: "peers-refused",
        severity: Warning,
        condition: "A node refuses connections of other nodes.",
        why: "A node with a wrong cluster, id, certificate or version tries to connect, so it is not part of the cluster.",
        remedy: "The log of the refusing node names the reason and the address.",
        examine: peers_refused,
    },
];

fn quorum_lost(view: &ClusterView<'_>) -> Vec<Hit> {
    let (voters, silent) = (view.voters(), view.silent_voters());
    let running = voters.len() - silent.len();
    if voters.is_empty() || running >= view.majority() {
        return Vec::new();
    }
    let seen = format!(
        "{running} of {} voters respond, and a majority is {}",
        voters.len(),
        view.majority()
    );
    let hit = Hit::seen(seen).of(silent);
    vec![hit.command("oarlock recover --data-dir DIR --survivor DIR2 --dry-run")]
}

fn no_leader(view: &ClusterView<'_>) -> Vec<Hit> {
    let is_waiting = view.members().is_empty();
    if view.nodes.is_empty() || is_waiting || view.leader_id().is_some() {
        return Vec::new();
    }
    if !quorum_lost(view).is_empty() || !bootstrap_differs(view).is_empty() {
        return Vec::new();
    }
    let terms = view.nodes.iter().map(|node| node.status.term);
    let seen = format!(
        "no node knows a leader; the highest term is {}",
        terms.max().unwrap_or(0)
    );
    vec![Hit::seen(seen).command("oarlock logs --level warn")]
}

fn other_cluster(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(authority) = view.authority else {
        return Vec::new();
    };
    let own = &authority.status.cluster_id;
    each_node(view, |node| {
        let other = &node.status.cluster_id;
        let differs = !other.is_empty() && !own.is_empty() && other != own;
        differs.then(|| {
            Hit::seen(format!(
                "it belongs to the cluster {other:?}, not to {own:?}"
            ))
        })
    })
}

fn bootstrap_differs(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let voting = &node.status.voting;
        let differs = voting.blocked_on.as_deref() == Some("bootstrap_mismatch");
        differs.then(|| {
            let other = voting.nodes.join(", ");
            Hit::seen(format!("{other} was started with other initial members"))
        })
    })
}

fn no_margin(view: &ClusterView<'_>) -> Vec<Hit> {
    let (voters, silent) = (view.voters(), view.silent_voters());
    if voters.len() < 3 || silent.is_empty() || voters.len() - silent.len() != view.majority() {
        return Vec::new();
    }
    let seen = format!(
        "{} of {} voters respond: no more may be lost",
        view.majority(),
        voters.len()
    );
    vec![Hit::seen(seen).of(silent).command("oarlock members list")]
}

fn node_unreachable(view: &ClusterView<'_>) -> Vec<Hit> {
    let silent = view.facts.nodes.iter().filter(|node| is_silent(node));
    silent
        .map(|node| {
            let at = node.endpoint.as_deref().unwrap_or("?");
            let seen = match &node.answer {
                NodeAnswer::Unreachable(reason) => format!("no response from {at}: {reason}"),
                _ => "no node knows its address for clients".to_owned(),
            };
            Hit::on(node.node_id.as_deref().unwrap_or(at), seen)
        })
        .collect()
}

fn not_examined(view: &ClusterView<'_>) -> Vec<Hit> {
    let hits = view.facts.nodes.iter().filter_map(|node| {
        let NodeAnswer::Refused(reason) = &node.answer else {
            return None;
        };
        let at = node.endpoint.as_deref().unwrap_or("?");
        let name = node.node_id.as_deref().unwrap_or(at);
        Some(Hit::on(name, format!("{at}: {reason}")))
    });
    hits.collect()
}

fn few_voters(view: &ClusterView<'_>) -> Vec<Hit> {
    let voters = view.voters().len();
    if voters == 0 || voters % 2 == 1 && voters > 1 {
        return Vec::new();
    }
    let count = if voters == 1 {
        "1 voter".to_owned()
    } else {
        format!("{voters} voters")
    };
    let lost = (voters - 1) / 2;
    let seen = format!("{count}: the cluster survives the loss of {lost}");
    vec![Hit::seen(seen).command("oarlock members add ID=HOST:PORT --voter")]
}

fn voters_without_data(view: &ClusterView<'_>) -> Vec<Hit> {
    let mut ids: Vec<&str> = Vec::new();
    for node in &view.nodes {
        for id in &node.status.voting.voters_without_data {
            if !ids.contains(&id.as_str()) {
                ids.push(id);
            }
        }
    }
    if ids.is_empty() {
        return Vec::new();
    }
    let seen = format!("{} started with an empty store", ids.join(", "));
    vec![Hit::seen(seen).of(ids).command("oarlock status")]
}

fn cannot_vote(view: &ClusterView<'_>) -> Vec<Hit> {
    let voters = view.voters();
    each_node(view, |node| {
        let voting = &node.status.voting;
        let blocked = voting.blocked_on.as_deref()?;
        let is_own_check = ["join", "bootstrap_mismatch"].contains(&blocked);
        let id = node.status.node_id.as_str();
        let is_voter = voters.contains(&id) || voters.is_empty();
        let waits_for = match voting.nodes.join(", ") {
            nodes if nodes.is_empty() => String::new(),
            nodes => format!(" of {nodes}"),
        };
        (is_voter && !is_own_check)
            .then(|| Hit::seen(format!("it waits for the {blocked}{waits_for}")))
    })
}

fn waits_to_be_added(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let waits = node.status.voting.blocked_on.as_deref() == Some("join");
        waits.then(|| {
            let id = &node.status.node_id;
            Hit::seen("it has an empty store and no cluster")
                .command(format!("oarlock members add {id}=HOST:PORT --voter"))
        })
    })
}

fn removed_node(view: &ClusterView<'_>) -> Vec<Hit> {
    let members = view.members();
    let Some(authority) = view.authority.filter(|_| !members.is_empty()) else {
        return Vec::new();
    };
    each_node(view, |node| {
        let status = &node.status;
        let is_member = members
            .iter()
            .any(|member| member.node_id == status.node_id);
        let waits = status.voting.blocked_on.as_deref() == Some("join");
        let is_of_cluster = status.cluster_id == authority.status.cluster_id;
        (!is_member && !waits && is_of_cluster).then(|| {
            Hit::seen(format!(
                "it runs, and is not among the {} members",
                members.len()
            ))
            .command("oarlock members list")
        })
    })
}

fn address_moved(view: &ClusterView<'_>) -> Vec<Hit> {
    let moved = view.members().iter().filter_map(|member| {
        let announced = member.announced_addr.as_deref()?;
        let (id, address) = (&member.node_id, &member.peer_addr);
        let seen = format!("the log has {address}, and the node listens at {announced}");
        let replace = format!("oarlock members replace {id} NEW={announced}");
        Some(Hit::on(id, seen).command(replace))
    });
    moved.collect()
}

fn stalled<'a>(
    view: &ClusterView<'a>,
    is_voter: bool,
) -> impl Iterator<Item = &'a PeerFacts> + use<'a> {
    let peers = view
        .leader()
        .map_or(&[][..], |leader| leader.peers.as_slice());
    let members = view.members();
    peers.iter().filter(move |peer| {
        let member = members.iter().find(|member| member.node_id == peer.node_id);
        peer.stalled_ms >= STALLED_MS && member.is_some_and(|member| member.voter == is_voter)
    })
}

fn stalled_hit(peer: &PeerFacts) -> Hit {
    let connection = if peer.connected {
        "connected"
    } else {
        "not connected"
    };
    let seen = format!(
        "{} entries wait for it, without progress for {}; it is {connection} to the leader",
        peer.lag,
        duration(peer.stalled_ms)
    );
    Hit::on(&peer.node_id, seen)
}

fn learner_stalled(view: &ClusterView<'_>) -> Vec<Hit> {
    let remove = |peer: &PeerFacts| format!("oarlock members remove {}", peer.node_id);
    stalled(view, false)
        .map(|peer| stalled_hit(peer).command(remove(peer)))
        .collect()
}

fn voter_stalled(view: &ClusterView<'_>) -> Vec<Hit> {
    let log = |peer: &PeerFacts| format!("oarlock logs --node {} --level warn", peer.node_id);
    stalled(view, true)
        .map(|peer| stalled_hit(peer).command(log(peer)))
        .collect()
}

fn learner_ready(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(leader) = view.leader() else {
        return Vec::new();
    };
    let learners = view.members().iter().filter(|member| !member.voter);
    learners
        .filter(|member| {
            let mut peers = leader.peers.iter();
            peers.any(|peer| peer.node_id == member.node_id && peer.connected && peer.lag == 0)
        })
        .map(|member| {
            let promote = format!("oarlock members promote {}", member.node_id);
            Hit::on(&member.node_id, "it has all entries of the leader").command(promote)
        })
        .collect()
}

fn leader_changes(view: &ClusterView<'_>) -> Vec<Hit> {
    let most = view
        .nodes
        .iter()
        .max_by_key(|node| node.recent.leader_changes);
    let Some(recent) = most.map(|node| node.recent) else {
        return Vec::new();
    };
    if recent.leader_changes < MANY_ELECTIONS {
        return Vec::new();
    }
    let seen = format!(
        "{} elections in {}",
        recent.leader_changes,
        duration(recent.window_ms)
    );
    vec![Hit::seen(seen).command("oarlock logs --source node --level info")]
}

fn not_ready(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node: &NodeFacts| {
        let status = &node.status;
        let has_time = status.uptime_ms >= STARTING_MS;
        let behind = status.commit_index.saturating_sub(status.applied_index);
        (has_time && !status.ready && status.leader_id.is_some() && !status.audit.quarantined).then(
            || {
                let id = &status.node_id;
                Hit::seen(format!(
                    "started {} ago, {behind} committed entries are not applied",
                    duration(status.uptime_ms)
                ))
                .command(format!("oarlock logs --node {id}"))
            },
        )
    })
}

fn peers_refused(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let refused = node.recent.refused_peers;
        (refused > 0).then(|| {
            let window = duration(node.recent.window_ms);
            let id = &node.status.node_id;
            Hit::seen(format!("{refused} connections in {window}")).command(format!(
                "oarlock logs --node {id} --source node --level warn"
            ))
        })
    })
}
