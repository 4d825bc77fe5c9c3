//! What no peer of sound mind says: checked once, so that nothing behind it has to mistrust a message.

use thiserror::Error;

use super::{
    AppendEntries, AppendEntriesResponse, AppendResult, BootstrapVerdict, InstallSnapshot, Message,
    RaftRequest, RaftResponse,
};
use crate::entry::Payload;
use crate::ids::{Index, LogId, Term};
use crate::raft::membership::{MAX_MEMBERS, Membership};

/// No term or index gets here by honest work, and sums of two such numbers don't overflow.
const HIGHEST: u64 = 1 << 62;

/// Why a message makes no sense, whoever sent it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// A number so high that it would overflow.
    #[error("a term, an index or an offset is {0}, and nothing counts that far")]
    Range(u64),
    /// Entries that don't follow each other.
    #[error("entry {found} stands where {expected} belongs")]
    Gap {
        /// What its place should be.
        expected: Index,
        /// What its index says.
        found: Index,
    },
    /// An entry of an older term than the one before it, or of a newer one than its leader's.
    #[error("entry {0} is of a term that can't stand there")]
    Term(LogId),
    /// A chunk that reaches past the end of its snapshot.
    #[error("a chunk ends behind the end of its snapshot")]
    Chunk,
    /// A configuration in which nobody votes, or with more than a cluster may have.
    #[error("a configuration can't be that of a cluster")]
    Membership,
}

impl Message {
    /// Whether its numbers fit together.
    ///
    /// # Errors
    /// What doesn't.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::Request(request) => request.check(),
            Self::Response(response) => response.check(),
        }
    }
}

impl RaftRequest {
    /// Whether its numbers fit together.
    ///
    /// # Errors
    /// What doesn't.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::AppendEntries(append) => append.check(),
            Self::RequestVote(vote) => {
                terms([vote.term, vote.last.term]).and(within(vote.last.index.0))
            }
            Self::InstallSnapshot(chunk) => chunk.check(),
            Self::ReadIndex(read) => within(read.term.0),
            Self::Forward(forward) => within(forward.term.0),
            Self::TimeoutNow(order) => within(order.term.0),
            Self::InstallMembers(chunk, membership) => chunk.check().and(sound(membership)),
            Self::Admin(order) => within(order.term.0),
            // Numbers of stores and runs are names: nothing is counted by them.
            Self::BootstrapProbe(question) if question.initial_members.len() <= 2 * MAX_MEMBERS => {
                id(question.members_at)
            }
            Self::BootstrapProbe(_) => Err(MessageError::Membership),
            Self::RejoinGranted(welcome) => within(welcome.term.0),
        }
    }
}

impl RaftResponse {
    /// Whether its numbers fit together.
    ///
    /// # Errors
    /// What doesn't.
    pub fn check(&self) -> Result<(), MessageError> {
        match self {
            Self::AppendEntries(answer) => answer.check(),
            Self::LeaseGranted(answer, ms) => answer.check().and(within(*ms)),
            Self::RequestVote(answer) => within(answer.term.0),
            Self::InstallSnapshot(answer) => within(answer.term.0)
                .and(id(answer.last))
                .and(within(answer.next_offset)),
            Self::ReadIndex(answer) => {
                within(answer.term.0).and(within(answer.index.unwrap_or_default().0))
            }
            Self::Forward(answer) => within(answer.term.0),
            Self::Admin(answer) => within(answer.term.0)
                .and(within(answer.outcome.as_ref().map_or(0, |index| index.0))),
            Self::BootstrapProbe(answer) => match &answer.verdict {
                BootstrapVerdict::Bootstrapped(membership) => sound(membership),
                BootstrapVerdict::Committed(at) => id(*at),
                BootstrapVerdict::New
                | BootstrapVerdict::NotNew
                | BootstrapVerdict::OtherMembers => Ok(()),
            },
            Self::StoreMismatch(answer) => within(answer.term.0),
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
            if let Payload::Membership(membership) = &entry.payload {
                sound(membership)?;
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

fn sound(membership: &Membership) -> Result<(), MessageError> {
    if membership.is_sound() {
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
