//! What the clients of a run did and saw, and the check that it could have happened one thing after another.
//!
//! The object is a list: a command appends its number and learns its place, a question learns the length. Each
//! operation that took effect therefore says itself where it stands in the one order of all: an append at place `p`
//! comes before a read of length `n` exactly if `p < n`. Such a history is linearizable (Herlihy, Wing 1990) if and
//! only if that order agrees with real time: what began after another had ended never stands before it. Reads of
//! the same length take the order of their beginnings. One sweep over time checks it; no search is needed.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::coverage::Coverage;
use super::machine::View;
use super::violation::Violation;

/// Number of an operation; an append's is the number that it appends.
pub(crate) type OpId = u64;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Append,
    /// Linearizable.
    Read,
    /// From what the node happens to know: may be old.
    StaleRead,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The client still waits.
    Open,
    /// Appended at this place.
    Appended(u64),
    /// The list as it was seen.
    Seen(View),
    /// Not carried out, and never will be.
    Refused,
    /// Carried out or not, then or later.
    Unknown,
}

/// One operation of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(crate) began: Duration,
    pub(crate) ended: Option<Duration>,
    pub(crate) outcome: Outcome,
}

/// All operations, by number.
#[derive(Debug, Default)]
pub(crate) struct History {
    ops: Vec<Op>,
}

impl History {
    pub(crate) fn begin(&mut self, now: Duration, kind: Kind, client: usize, node: usize) -> OpId {
        self.ops.push(Op {
            kind,
            client,
            node,
            began: now,
            ended: None,
            outcome: Outcome::Open,
        });
        self.ops.len() as u64 - 1
    }

    /// Ends an operation. A second end is ignored: the client has gone.
    pub(crate) fn end(&mut self, now: Duration, id: OpId, outcome: Outcome) -> Option<Op> {
        let op = self.ops.get_mut(usize::try_from(id).ok()?)?;
        if op.outcome != Outcome::Open {
            return None;
        }
        op.ended = Some(now);
        op.outcome = outcome;
        Some(*op)
    }

    pub(crate) fn get(&self, id: OpId) -> Option<&Op> {
        self.ops.get(usize::try_from(id).ok()?)
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = (OpId, &Op)> {
        (0..)
            .zip(&self.ops)
            .filter(|(_, op)| op.outcome == Outcome::Open)
    }

    pub(crate) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Counts what became of them all.
    pub(crate) fn count(&self, coverage: &mut Coverage) {
        for op in &self.ops {
            match (op.kind, op.outcome) {
                (_, Outcome::Appended(_)) => coverage.replies += 1,
                (Kind::Read, Outcome::Seen(_)) => coverage.answers += 1,
                (_, Outcome::Refused) => coverage.refused += 1,
                (_, Outcome::Unknown) => coverage.unknown += 1,
                (_, Outcome::Seen(_) | Outcome::Open) => {}
            }
        }
    }

    /// Checks the history against the final list: the number at each place.
    pub(crate) fn check(&self, list: &[u64]) -> Result<(), Violation> {
        let places: BTreeMap<u64, u64> = list.iter().copied().zip(0..).collect();
        self.check_real_time(&places)?;
        for (id, op) in (0..).zip(&self.ops) {
            let place = places.get(&id).copied();
            match op.outcome {
                Outcome::Appended(at) if place != Some(at) => {
                    return violation(
                        "acknowledged commands are never lost",
                        format!("{} in the list: {place:?}", words(id, op)),
                    );
                }
                Outcome::Refused if op.kind == Kind::Append && place.is_some() => {
                    return violation(
                        "a refused command is not carried out",
                        format!("{} at {place:?}", words(id, op)),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Where an operation stands in the one order: between whole numbers for reads, so that reads of one length
    /// share a place. None if it left no trace.
    fn rank(id: OpId, op: &Op, places: &BTreeMap<u64, u64>) -> Option<u64> {
        match (op.kind, op.outcome) {
            (Kind::Append, Outcome::Refused) | (Kind::StaleRead, _) => None,
            // What the client was told, and for an open outcome what became of it.
            (Kind::Append, Outcome::Appended(place)) => Some(2 * place + 1),
            (Kind::Append, _) => places.get(&id).map(|place| 2 * place + 1),
            (Kind::Read, Outcome::Seen(view)) => Some(2 * view.length),
            (Kind::Read, _) => None,
        }
    }

    fn check_real_time(&self, places: &BTreeMap<u64, u64>) -> Result<(), Violation> {
        let mut ends: Vec<(Duration, u64, OpId)> = Vec::new();
        let mut begins: Vec<(Duration, u64, OpId)> = Vec::new();
        for (id, op) in (0..).zip(&self.ops) {
            let Some(rank) = Self::rank(id, op, places) else {
                continue;
            };
            begins.push((op.began, rank, id));
            // One without a known outcome may take effect at any time after it began.
            if let (Some(ended), false) = (op.ended, op.outcome == Outcome::Unknown) {
                ends.push((ended, rank, id));
            }
        }
        begins.sort_unstable();
        ends.sort_unstable();
        let mut ends = ends.into_iter().peekable();
        let mut highest: Option<(u64, OpId)> = None;
        for (began, rank, id) in begins {
            while let Some((_, ended_rank, ended_id)) = ends.next_if(|(ended, ..)| *ended < began) {
                highest = highest.max(Some((ended_rank, ended_id)));
            }
            if let Some((before, earlier)) = highest.filter(|(before, _)| *before > rank) {
                let (late, early) = (self.words(id), self.words(earlier));
                let detail = format!(
                    "{late} stands at {rank}, but began after {early} ended, which stands at {before}"
                );
                return violation(
                    "client histories are linearizable (dissertation §6.3)",
                    detail,
                );
            }
        }
        Ok(())
    }

    fn words(&self, id: OpId) -> String {
        self.get(id)
            .map_or_else(|| format!("op {id}"), |op| words(id, op))
    }
}

fn words(id: OpId, op: &Op) -> String {
    let Op {
        kind,
        client,
        node,
        began,
        ended,
        outcome,
    } = op;
    format!(
        "[op {id}: {kind:?} of client {client} at n{node}, {began:?} to {ended:?}: {outcome:?}]"
    )
}

fn violation(invariant: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { invariant, detail })
}
