//! The bytes of a configuration, in a log entry and in a snapshot's header.
//!
//! ```text
//! count u32, then for each member, in the order of their ids:
//! id (u32 of bytes, UTF-8) · address (u32 of bytes, UTF-8) · store_id u64 · role u8
//! ```
//!
//! Roles: 0 learner, 1 voter, 2 incoming, 3 leaving, 4 demoted, 5 rejoining.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

use super::record::{RecordError, get_name, put_length};
use crate::address::MAX_ID_BYTES;
use crate::ids::{NodeId, StoreId};
use crate::raft::membership::{MAX_ADDRESS_BYTES, MAX_MEMBERS, Member, MemberRole, Membership};

/// Length of a member without its id and address.
const MEMBER_BYTES: usize = 4 + 4 + 8 + 1;
/// Length in bytes of the longest configuration with its length and checksum. During a change, it has up to twice
/// [`MAX_MEMBERS`].
pub(super) const MAX_BYTES: usize =
    12 + 2 * MAX_MEMBERS * (MEMBER_BYTES + MAX_ID_BYTES + MAX_ADDRESS_BYTES);

/// Length of an encoded configuration, in bytes.
pub(super) fn length(membership: &Membership) -> usize {
    let member =
        |(id, member): (&NodeId, &Member)| MEMBER_BYTES + id.as_str().len() + member.address.len();
    4 + membership.members().iter().map(member).sum::<usize>()
}

/// Appends a configuration to a record.
pub(super) fn put(record: &mut Vec<u8>, membership: &Membership) {
    put_length(record, membership.members().len());
    for (id, member) in membership.members() {
        for text in [id.as_str(), &member.address] {
            put_length(record, text.len());
            record.extend_from_slice(text.as_bytes());
        }
        record.extend_from_slice(&member.store_id.0.to_be_bytes());
        record.push(match member.role {
            MemberRole::Learner => 0,
            MemberRole::Voter => 1,
            MemberRole::Incoming => 2,
            MemberRole::Leaving => 3,
            MemberRole::Demoted => 4,
            MemberRole::Rejoining => 5,
        });
    }
}

/// Decodes a configuration from a record.
pub(super) fn get(body: &mut Bytes) -> Result<Membership, RecordError> {
    let count = body.try_get_u32()? as usize;
    // Checked against the remaining bytes, so that a false count can't cost time or memory.
    if count > body.len() / MEMBER_BYTES {
        return Err(RecordError::CutShort);
    }
    let mut members = BTreeMap::new();
    for _ in 0..count {
        let id = NodeId::from(get_name(body)?);
        let address = get_name(body)?;
        let store_id = StoreId(body.try_get_u64()?);
        let role = match body.try_get_u8()? {
            0 => MemberRole::Learner,
            1 => MemberRole::Voter,
            2 => MemberRole::Incoming,
            3 => MemberRole::Leaving,
            4 => MemberRole::Demoted,
            5 => MemberRole::Rejoining,
            kind => return Err(RecordError::Kind(kind)),
        };
        let member = Member {
            address,
            store_id,
            role,
        };
        members.insert(id, member);
    }
    Ok(Membership::new(members))
}
