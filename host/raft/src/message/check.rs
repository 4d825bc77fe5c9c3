//! The validity check of a message. It is done once, so later code may rely on it.

use thiserror::Error;

use super::{
    AppendEntries, AppendEntriesResponse, AppendResult, BootstrapVerdict, InstallSnapshot, Message,
    RaftRequest, RaftResponse,
};
use crate::ids::{Index, LogId, Term};
use crate::raft::membership::{MAX_MEMBERS, Membership};

/// Largest valid term, index or offset. No cluster reaches it, and the sum of two such numbers does not overflow.
const HIGHEST: u64 = 1 << 62;

/// Why a message is invalid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// A number is too large.
    #[error("a term, an index or an offset is {0}, which is too large")]
    Range(u64),
    /// The entries have a gap.
    #[error("entry {found} is where entry {expected} must be")]
    Gap {
        /// The index by position.
        expected: Index,
        /// The index of the entry.
        found: Index,
    },
    /// The term of an entry is lower than in the entry before, or higher than the leader's.
    #[error("the term of entry {0} is invalid at its position")]
    Term(LogId),
    /// A chunk is not within its snapshot.
    #[error("a chunk ends after the end of its snapshot")]
    Chunk,
    /// A configuration has no voters, or too many members.
    #[error("a configuration has no voters or too many members")]
    Membership,
}

impl Message {
    /// Checks the numbers in the message.
    ///
    /// # Errors
    /// The first number or combination that is invalid.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Request(request) => request.check(),
            Self::Response(response) => response.check(),
        }
    }
}

impl RaftRequest {
    /// Checks the numbers in the message.
    ///
    /// # Errors
    /// The first number or combination that is invalid.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::AppendEntries(append) => append.check(),
            Self::RequestVote(vote) => {
                terms([vote.term, vote.last.term]).and(within(vote.last.index.0))
            }
            Self::InstallSnapshot(chunk) => chunk.check(),
            Self::ReadIndex(read) => within(read.term.0),
            Self::Forward(forward) => within(forward.term.0),
            Self::TimeoutNow(request) => within(request.term.0),
            Self::InstallMembers(chunk, membership)
            | Self::InstallCluster(chunk, membership, _) => chunk.check().and(valid(membership)),
            Self::StoreReplaced(_) => Ok(()),
            Self::Admin(request) => within(request.term.0),
            // Store ids and runs are random, so every value is valid.
            Self::BootstrapProbe(probe) if probe.initial_members.len() <= 2 * MAX_MEMBERS => {
                id(probe.members_at)
            }
            Self::BootstrapProbe(_) => Err(MessageError::Membership),
            Self::RejoinGranted(welcome) => within(welcome.term.0),
            Self::Clock(request) => within(request.term.0),
        }
    }
}

impl RaftResponse {
    /// Checks the numbers in the message.
    ///
    /// # Errors
    /// The first number or combination that is invalid.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::AppendEntries(response) => response.check(),
            Self::LeaseGranted(response, ms) => response.check().and(within(*ms)),
            Self::RequestVote(response) => within(response.term.0),
            Self::InstallSnapshot(response) => within(response.term.0)
                .and(id(response.last))
                .and(within(response.next_offset)),
            Self::ReadIndex(response) => {
                within(response.term.0).and(within(response.index.unwrap_or_default().0))
            }
            Self::Forward(response) => within(response.term.0),
            Self::Admin(response) => within(response.term.0)
                .and(within(response.outcome.as_ref().map_or(0, |index| index.0))),
            Self::BootstrapProbe(response) => match &response.verdict {
                BootstrapVerdict::Bootstrapped(membership) => valid(membership),
                BootstrapVerdict::Begun(record) => valid(&record.membership),
                BootstrapVerdict::Committed(at) => id(*at),
                BootstrapVerdict::New
                | BootstrapVerdict::NotNew
                | BootstrapVerdict::OtherMembers => Ok(()),
            },
            Self::StoreMismatch(response) => within(response.term.0),
            // Every clock is possible.
            Self::Clock(report) => within(report.term.0),
        }
    }
}

impl AppendEntries {
    fn check(&self) -> Result<(), MessageError> {
        within(self.term.0)
            .and(id(self.previous))
            .and(within(self.leader_commit.0))?;
        let mut before = self.previous;
        for entry in &self.entries {
            let expected = before.index.next();
            if entry.id.index != expected {
                return Err(MessageError::Gap {
                    expected,
                    found: entry.id.index,
                });
            }
            if entry.id.term < before.term || entry.id.term > self.term {
                return Err(MessageError::Term(entry.id));
            }
            if let Some(membership) = entry.payload.membership() {
                valid(membership)?;
            }
            before = entry.id;
        }
        if self.previous.term > self.term {
            return Err(MessageError::Term(self.previous));
        }
        Ok(())
    }
}

impl AppendEntriesResponse {
    fn check(&self) -> Result<(), MessageError> {
        within(self.term.0).and(match self.result {
            AppendResult::Matched(index) => within(index.0),
            AppendResult::Mismatch { rejected, hint } => id(rejected).and(id(hint)),
            AppendResult::Ignored => Ok(()),
        })
    }
}

impl InstallSnapshot {
    fn check(&self) -> Result<(), MessageError> {
        within(self.term.0).and(id(self.meta.last))?;
        within(self.meta.length).and(within(self.offset))?;
        if self.meta.last.term > self.term {
            return Err(MessageError::Term(self.meta.last));
        }
        if self.offset + self.data.len() as u64 > self.meta.length {
            return Err(MessageError::Chunk);
        }
        Ok(())
    }
}

fn valid(membership: &Membership) -> Result<(), MessageError> {
    if membership.is_valid() {
        Ok(())
    } else {
        Err(MessageError::Membership)
    }
}

fn terms<const N: usize>(terms: [Term; N]) -> Result<(), MessageError> {
    terms.into_iter().try_for_each(|term| within(term.0))
}

fn id(id: LogId) -> Result<(), MessageError> {
    within(id.term.0).and(within(id.index.0))
}

fn within(number: u64) -> Result<(), MessageError> {
    if number > HIGHEST {
        Err(MessageError::Range(number))
    } else {
        Ok(())
    }
}
