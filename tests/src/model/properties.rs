//! The properties of each state, and the events that must occur in some state, so that the check is not empty.

use stateright::Property;
use task_queue_raft::ids::Index;
use task_queue_raft::raft::Role;

use super::node::{NODES, Node};
use super::{Bounds, State};

pub(super) fn all() -> Vec<Property<Bounds>> {
    vec![
        Property::always("election safety", |_, state| election_safety(state)),
        Property::always("log matching", |_, state| log_matching(state)),
        Property::always("leader completeness", |_, state| leader_completeness(state)),
        Property::always("state machine safety", |_, state: &State| {
            !state.machines_differ
        }),
        Property::always("committed never lost", |_, state| committed_is_kept(state)),
        Property::sometimes("a leader of each term", |bounds: &Bounds, state: &State| {
            state.leaders.len() as u64 == bounds.terms
        }),
        Property::sometimes("all entries committed", |bounds: &Bounds, state: &State| {
            state.committed.len() as u64 >= bounds.entries
        }),
        Property::sometimes("logs that differ", |_, state| logs_differ(state)),
    ]
}

fn election_safety(state: &State) -> bool {
    state.leaders.values().all(|leaders| leaders.len() <= 1)
}

/// Where two logs hold the same entry, they hold the same up to it.
fn log_matching(state: &State) -> bool {
    let agree = |one: &Node, two: &Node| {
        let last = one.core.log().last().index.min(two.core.log().last().index);
        let same = |index| one.entry(Index(index)) == two.entry(Index(index));
        let same_name =
            |index| one.core.log().term_at(Index(index)) == two.core.log().term_at(Index(index));
        let meet = (1..=last.0).rev().find(|&index| same_name(index));
        meet.is_none_or(|meet| (1..=meet).all(same))
    };
    let nodes = &state.nodes;
    (0..NODES).all(|one| (one + 1..NODES).all(|two| agree(&nodes[one], &nodes[two])))
}

fn leader_completeness(state: &State) -> bool {
    let leaders = state
        .nodes
        .iter()
        .filter(|node| node.core.role() == Role::Leader);
    leaders.into_iter().all(|leader| {
        let earlier = state
            .committed
            .iter()
            .filter(|committed| committed.in_term < leader.core.term());
        earlier
            .into_iter()
            .all(|committed| leader.core.log().holds(committed.entry.id))
    })
}

fn committed_is_kept(state: &State) -> bool {
    state.committed.iter().all(|committed| {
        let entry = &committed.entry;
        let holds = |node: &Node| node.stored.entries.contains(entry);
        let on_disks = state.nodes.iter().filter(|node| holds(node)).count();
        let mut commits = state
            .nodes
            .iter()
            .filter(|node| node.core.log().committed() >= entry.id.index);
        on_disks > NODES / 2 && commits.all(|node| node.core.log().holds(entry.id))
    })
}

/// Two logs differ at one index: one of them will be cut.
fn logs_differ(state: &State) -> bool {
    let logs = state.nodes.each_ref().map(|node| node.core.log());
    let differ = |one: usize, two: usize| {
        let last = logs[one].last().index.min(logs[two].last().index);
        let term = |log: usize, index| logs[log].term_at(Index(index));
        (1..=last.0).any(|index| term(one, index) != term(two, index))
    };
    (0..NODES).any(|one| (one + 1..NODES).any(|two| differ(one, two)))
}
