//! Checks the address of `POST /v1/members` before the leader gets the request: it must not belong to another member, and a
//! member must answer at its new one.

use task_queue_raft::address::PeerAddress;
use task_queue_raft::node::ProbeError;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use crate::status::MemberStatus;

/// Checks the address of a node that is added. `replaces`: the member that it replaces, whose address it may take.
///
/// # Errors
/// The address belongs to another member, another node answers there, or a member does not answer at its new address.
pub(super) async fn check(
    app: &App,
    id: &str,
    address: &str,
    replaces: Option<&str>,
) -> Result<(), ApiError> {
    // The leader refuses an invalid address with the reason.
    let Ok(wanted) = format!("{id}@{address}").parse::<PeerAddress>() else {
        return Ok(());
    };
    let members = app.member_list();
    let address = wanted.host_port();
    if let Some(other) = owner(&members, &address, id, replaces) {
        return Err(in_use(&address, other));
    }
    let known = members.iter().find(|member| member.node_id == id);
    if known.is_some_and(|member| member.peer_addr == address) {
        return Ok(());
    }
    let Some(network) = app.raft.network() else {
        return Ok(());
    };
    match (network.probe(&wanted).await, known) {
        // A new node may be started after it was added.
        (Ok(()), _) | (Err(ProbeError::NoAnswer(_)), None) => Ok(()),
        (Err(error), None) => Err(other_node(&address, id, &error)),
        (Err(error), Some(member)) => Err(unanswered(&address, member, &error)),
    }
}

/// The member, other than `id` and `replaced`, that has this address.
fn owner<'m>(
    members: &'m [MemberStatus],
    address: &str,
    id: &str,
    replaced: Option<&str>,
) -> Option<&'m MemberStatus> {
    members.iter().find(|member| {
        member.peer_addr == address
            && member.node_id != id
            && replaced != Some(member.node_id.as_str())
    })
}

fn in_use(address: &str, other: &MemberStatus) -> ApiError {
    ApiError::new(
        ErrorCode::AddressInUse,
        format!(
            "{address} is the address of the member {}; nothing was changed",
            other.node_id
        ),
        "give each node its own address; to put a new node in the place of a member, use `oarlock members replace`",
    )
}

fn other_node(address: &str, id: &str, error: &ProbeError) -> ApiError {
    ApiError::new(
        ErrorCode::WrongNode,
        format!("{id} does not answer at {address}: {error}; nothing was changed"),
        "correct the id or the address",
    )
}

fn unanswered(address: &str, member: &MemberStatus, error: &ProbeError) -> ApiError {
    ApiError::new(
        ErrorCode::NoAnswer,
        format!(
            "{} is a member at {} and does not answer at {address}: {error}; nothing was changed",
            member.node_id, member.peer_addr
        ),
        "start the node at its new address with its own data directory, then send the request again",
    )
}
