//! Changes of the members, as a script writes them.

use std::collections::BTreeMap;

use task_queue_raft::ids::NodeId;
use task_queue_raft::raft::membership::change::{Change, MemberSpec};

use super::command::Command;

/// Reads `change N learner 4`, `voter 4`, `promote 4`, `remove 3`, `replace 3 4`, or
/// `members voters=(1,2,4) learners=(5)`.
///
/// # Errors
/// Where it is none of these.
pub(super) fn parse(command: &Command) -> Result<Change, String> {
    command.check_options(&["voters", "learners"])?;
    let node = |at| command.number(at).map(name);
    Ok(match command.arg(1)? {
        "learner" => Change::AddLearner {
            id: node(2)?,
            address: address(&node(2)?),
        },
        "voter" => Change::AddVoter {
            id: node(2)?,
            address: address(&node(2)?),
        },
        "promote" => Change::Promote { id: node(2)? },
        "remove" => Change::Remove { id: node(2)? },
        "replace" => Change::Replace {
            old: node(2)?,
            new: node(3)?,
            address: address(&node(3)?),
        },
        "members" => Change::Set(seats(command)?),
        other => return Err(format!("{other} is no change")),
    })
}

fn seats(command: &Command) -> Result<BTreeMap<NodeId, MemberSpec>, String> {
    let seats = |key, voter| -> Result<Vec<(NodeId, MemberSpec)>, String> {
        let seat = |id: u64| {
            let address = address(&name(id));
            (name(id), MemberSpec { address, voter })
        };
        Ok(command.list(key)?.into_iter().map(seat).collect())
    };
    let (voters, learners) = (seats("voters", true)?, seats("learners", false)?);
    Ok(voters.into_iter().chain(learners).collect())
}

fn name(id: u64) -> NodeId {
    id.to_string().into()
}

fn address(id: &NodeId) -> String {
    format!("node{id}:7101")
}
