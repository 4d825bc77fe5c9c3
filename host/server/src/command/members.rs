//! `oarlock members` and `oarlock transfer-leader`.

use oarlock_client::{Client, MemberInfo, MembersChanged, RequestError};
use serde_json::json;

use super::connect::{block_on, connect, refused};
use super::output::{print_coloured, print_safely, write_json, write_out};
use super::table::{Align, Table, Tone};
use crate::cli::{MembersArgs, MembersCommand, TransferArgs};
use crate::exit::Failure;

/// Lists or changes the members, and prints the result.
///
/// # Errors
/// No node responds, or the leader refuses the change.
pub(crate) fn members(args: MembersArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: MembersArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let changed = match &args.command {
        MembersCommand::List => return list(&client, args.client.output.json).await,
        MembersCommand::Add { node, voter } => {
            let (id, addr) = named_address(node)?;
            client.add_member(id, addr, *voter).await
        }
        MembersCommand::Promote { node } => client.promote_member(node).await,
        MembersCommand::Remove { node } => client.remove_member(node).await,
        MembersCommand::Replace { old, node } => {
            let (id, addr) = named_address(node)?;
            client.replace_member(old, id, addr).await
        }
    };
    let changed = match changed {
        Ok(changed) => changed,
        Err(error) => {
            let failure = refused(&error, &error);
            return Err(noted_learner(&client, &args.command, failure).await);
        }
    };
    if args.client.output.json {
        return write_json(std::io::stdout().lock(), &changed);
    }
    let line = format!("{}\n", summary(&args.command, &changed));
    write_out(std::io::stdout().lock(), line.as_bytes())
}

/// A node becomes a voter in two steps. If the second one fails, the failure tells that the node is a learner.
async fn noted_learner(client: &Client, command: &MembersCommand, failure: Failure) -> Failure {
    let (MembersCommand::Add { node, voter: true } | MembersCommand::Replace { node, .. }) =
        command
    else {
        return failure;
    };
    let Ok((id, _)) = named_address(node) else {
        return failure;
    };
    let Ok(status) = client.status().await else {
        return failure;
    };
    let is_learner = |member: &MemberInfo| member.node_id == id && !member.voter;
    if status.members.iter().any(is_learner) {
        failure.noted(format!(
            "{id} is a learner of the cluster now: once it has caught up, make it a voter with `oarlock members promote {id}`, or \
             remove it with `oarlock members remove {id}`"
        ))
    } else {
        failure
    }
}

fn summary(command: &MembersCommand, changed: &MembersChanged) -> String {
    let index = changed.index;
    match command {
        MembersCommand::List => String::new(),
        MembersCommand::Add { node, voter } => {
            let what = if *voter { "a voter" } else { "a learner" };
            format!("added {node} as {what} (entry {index})")
        }
        MembersCommand::Promote { node } => format!("promoted {node} to voter (entry {index})"),
        MembersCommand::Remove { node } => {
            format!("removed {node} (entry {index}); stop its process")
        }
        MembersCommand::Replace { old, node } => {
            format!("replaced {old} by {node} (entry {index}); stop the process of {old}")
        }
    }
}

async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let status = client
        .status()
        .await
        .map_err(|error: RequestError| refused(&error, &error))?;
    if json {
        let members = json!({"leader_id": status.leader_id, "members": status.members});
        return write_json(std::io::stdout().lock(), &members);
    }
    let leader = status.leader_id.as_deref();
    let text = table(&status.members, leader).render();
    print_coloured(&text)
}

fn table(members: &[MemberInfo], leader: Option<&str>) -> Table {
    let mut table = Table::new(&[
        ("NODE", Align::Left),
        ("ROLE", Align::Left),
        ("PEER ADDRESS", Align::Left),
        ("CLIENT ADDRESS", Align::Left),
    ]);
    for member in members {
        let role = match member.voter {
            true if leader == Some(member.node_id.as_str()) => "leader",
            true => "voter",
            false => "learner",
        };
        let client_addr = member
            .client_addr
            .as_deref()
            .filter(|addr| !addr.is_empty());
        let peer_addr = match &member.announced_addr {
            Some(announced) => format!("{}, moved to {announced}", member.peer_addr),
            None => member.peer_addr.clone(),
        };
        let cells = [
            member.node_id.as_str(),
            role,
            &peer_addr,
            client_addr.unwrap_or("-"),
        ];
        table.row(cells.map(|cell| (print_safely(cell).into_owned(), Tone::Plain)));
    }
    table
}

/// Parses `ID=HOST:PORT`.
fn named_address(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once('=')
        .filter(|(id, addr)| !id.is_empty() && !addr.is_empty())
        .ok_or_else(|| {
            Failure::usage(format!(
                "{text:?} is not a node id with an address; write ID=HOST:PORT, for example node4=127.0.0.1:7104"
            ))
        })
}

/// Transfers leadership, and prints the new leader.
///
/// # Errors
/// No node responds, or leadership did not move.
pub(crate) fn transfer_leader(args: TransferArgs) -> Result<(), Failure> {
    block_on(async {
        let client = connect(&args.client)?;
        let moved = client.transfer_leader(args.node.as_deref()).await;
        let moved = moved.map_err(|error| refused(&error, &error))?;
        if args.client.output.json {
            return write_json(std::io::stdout().lock(), &moved);
        }
        let leader = moved.leader_id.as_deref().unwrap_or("another node");
        let line = format!(
            "{} is the leader in term {}\n",
            print_safely(leader),
            moved.term
        );
        write_out(std::io::stdout().lock(), line.as_bytes())
    })
}
