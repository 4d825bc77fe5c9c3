//! The history of the clients of a run, and the check that it is linearizable (Herlihy, Wing 1990).
//!
//! The object is a list. A command appends its number and returns its place; a query returns the length. So each operation
//! that took effect has a place in one total order: an append at place `p` comes before a read of length `n` exactly if
//! `p < n`. The history is linearizable if and only if that order agrees with real time: an operation that began after
//! another had ended never precedes it. Reads of the same length are ordered by their start. One sweep over time checks
//! this; no search is needed.
//!
//! A register whose writes return the replaced value is such a list too: a write follows the write that it replaced, and a
//! read follows the write that it found. A compare-and-swap without effect is a read. Each register is checked separately,
//! because linearizability is local.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::coverage::Coverage;
use super::machine::View;
use super::violation::Violation;

/// Name of the invariant that this module checks.
pub(crate) const LINEARIZABLE: &str = "client histories are linearizable (dissertation §6.3)";

/// Number of an operation; an append's is the number that it appends.
pub(crate) type OpId = u64;

/// The request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To a list; or a write to a register.
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
    /// The observed list.
    Seen(View),
    /// Written to a register, and replaced this value.
    Replaced(Option<OpId>),
    /// Not written to a register, because it contained this value.
    Kept(Option<OpId>),
    /// The value that was read from a register.
    Found(Option<OpId>),
    /// The machine's reply does not match the operation.
    Nonsense,
    /// Not applied, and never will be.
    Refused,
    /// Unknown: applied or not, then or later.
    Unknown,
}

const LOST: &str = "acknowledged commands are never lost";

impl Outcome {
    /// Whether the client received a result.
    pub(crate) fn is_answer(self) -> bool {
        match self {
            Self::Appended(_) | Self::Seen(_) => true,
            Self::Replaced(_) | Self::Kept(_) | Self::Found(_) => true,
            Self::Open | Self::Nonsense | Self::Refused | Self::Unknown => false,
        }
    }
}

/// One operation of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    pub(crate) client: usize,
    pub(crate) node: usize,
    /// Which list it is about.
    pub(crate) register: u8,
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
    /// A client begins an operation on the only list.
    pub(crate) fn begin(&mut self, now: Duration, kind: Kind, client: usize, node: usize) -> OpId {
        self.begin_on(0, now, kind, client, node)
    }

    /// A client begins an operation on a register.
    pub(crate) fn begin_on(
        &mut self,
        register: u8,
        now: Duration,
        kind: Kind,
        client: usize,
        node: usize,
    ) -> OpId {
        self.ops.push(Op {
            kind,
            client,
            node,
            register,
            began: now,
            ended: None,
            outcome: Outcome::Open,
        });
        self.ops.len() as u64 - 1
    }

    /// Ends an operation. A second end is ignored.
    pub(crate) fn end(&mut self, now: Duration, id: OpId, outcome: Outcome) -> Option<Op> {
        let op = self.ops.get_mut(usize::try_from(id).ok()?)?;
        if op.outcome != Outcome::Open {
            return None;
        }
        op.ended = Some(now);
        op.outcome = outcome;
        Some(*op)
    }

    /// The client sends the same request to another node.
    pub(crate) fn ask_again(&mut self, id: OpId, node: usize) {
        if let Some(op) = usize::try_from(id).ok().and_then(|id| self.ops.get_mut(id)) {
            op.node = node;
        }
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
                (_, Outcome::Appended(_) | Outcome::Replaced(_) | Outcome::Kept(_)) => {
                    coverage.replies += 1;
                }
                (Kind::Read, Outcome::Seen(_) | Outcome::Found(_)) => coverage.answers += 1,
                (_, Outcome::Refused) => coverage.refused += 1,
                (_, Outcome::Unknown) => coverage.unknown += 1,
                (_, _) => {}
            }
        }
    }

    /// Checks the history of the only list against what it holds in the end: the number at each place.
    pub(crate) fn check(&self, list: &[u64]) -> Result<(), Violation> {
        self.check_register(0, list)
    }

    /// Checks the history of one register against the list of its writes, in order.
    pub(crate) fn check_register(&self, register: u8, list: &[u64]) -> Result<(), Violation> {
        let places: BTreeMap<u64, u64> = list.iter().copied().zip(0..).collect();
        self.check_real_time(register, &places)?;
        for (id, op) in self.of(register) {
            let place = places.get(&id).copied();
            match op.outcome {
                Outcome::Appended(at) if place != Some(at) => {
                    return violation(LOST, format!("{} in the list: {place:?}", text_of(id, op)));
                }
                Outcome::Replaced(before)
                    if place.is_none() || place != behind(before, &places) =>
                {
                    return violation(
                        LOST,
                        format!("{} in the register: {place:?}", text_of(id, op)),
                    );
                }
                Outcome::Kept(found) | Outcome::Found(found)
                    if behind(found, &places).is_none() =>
                {
                    return violation(
                        "what is read was written",
                        format!("{}, which was never written", text_of(id, op)),
                    );
                }
                Outcome::Refused | Outcome::Kept(_) if place.is_some() => {
                    return violation(
                        "a refused command is not carried out",
                        format!("{} at {place:?}", text_of(id, op)),
                    );
                }
                Outcome::Nonsense => {
                    return violation("a response belongs to its request", text_of(id, op));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn of(&self, register: u8) -> impl Iterator<Item = (OpId, &Op)> {
        (0..)
            .zip(&self.ops)
            .filter(move |(_, op)| op.register == register)
    }

    /// Position of an operation in the total order: between whole numbers for reads, so that reads of one length
    /// share a position. `None` if it had no effect.
    fn rank(id: OpId, op: &Op, places: &BTreeMap<u64, u64>) -> Option<u64> {
        match (op.kind, op.outcome) {
            (Kind::Append, Outcome::Refused) | (Kind::StaleRead, _) => None,
            // The result that the client received; for an unknown outcome, the actual result.
            (Kind::Append, Outcome::Appended(place)) => Some(2 * place + 1),
            (Kind::Append, Outcome::Replaced(before)) => {
                behind(before, places).map(|place| 2 * place + 1)
            }
            (_, Outcome::Kept(found) | Outcome::Found(found)) => {
                behind(found, places).map(|length| 2 * length)
            }
            (Kind::Append, _) => places.get(&id).map(|place| 2 * place + 1),
            (Kind::Read, Outcome::Seen(view)) => Some(2 * view.length),
            (Kind::Read, _) => None,
        }
    }

    fn check_real_time(&self, register: u8, places: &BTreeMap<u64, u64>) -> Result<(), Violation> {
        let mut ends: Vec<(Duration, u64, OpId)> = Vec::new();
        let mut begins: Vec<(Duration, u64, OpId)> = Vec::new();
        for (id, op) in self.of(register) {
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
                let (late, early) = (self.text_of(id), self.text_of(earlier));
                let detail = format!(
                    "{late} stands at {rank}, but began after {early} ended, which stands at {before}"
                );
                return violation(LINEARIZABLE, detail);
            }
        }
        Ok(())
    }

    fn text_of(&self, id: OpId) -> String {
        self.get(id)
            .map_or_else(|| format!("op {id}"), |op| text_of(id, op))
    }
}

/// The place right behind a write; the first one where there was none. None if there is no such write.
fn behind(write: Option<OpId>, places: &BTreeMap<u64, u64>) -> Option<u64> {
    match write {
        None => Some(0),
        Some(write) => places.get(&write).map(|place| place + 1),
    }
}

fn text_of(id: OpId, op: &Op) -> String {
    let Op {
        kind,
        client,
        node,
        register,
        began,
        ended,
        outcome,
    } = op;
    format!(
        "[op {id}: {kind:?} of client {client} at n{node}, register {register}, {began:?} to {ended:?}: {outcome:?}]"
    )
}

fn violation(invariant: &'static str, detail: String) -> Result<(), Violation> {
    Err(Violation { invariant, detail })
}
