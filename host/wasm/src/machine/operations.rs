//! What operators did last. Replicated state.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::records::operation::{MAX_TEXT_BYTES, OperationRecord};
use crate::records::wire;

/// Operations that are kept. The oldest are dropped first.
pub(crate) const MAX_KEPT: usize = 256;

/// What an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastOperation {
    /// The entry with which it began.
    pub begun: Moment,
    /// The name of the operator.
    pub by: String,
    /// What the request did.
    pub what: String,
    /// Its arguments, for people.
    pub details: String,
    /// How it ended; `None` before, and if its node has not recorded that.
    pub end: Option<OperationEnd>,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationEnd {
    /// The entry that records it.
    pub at: Moment,
    /// The code of the error, empty if the request succeeded.
    pub code: String,
}

/// The last operations, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operations {
    /// Shared with the status and with snapshots in progress. A change copies it.
    kept: Arc<VecDeque<PastOperation>>,
    /// All that began, dropped ones included.
    begun: u64,
}

impl Operations {
    pub(crate) fn is_empty(&self) -> bool {
        self.begun == 0
    }

    pub(crate) fn kept(&self) -> impl DoubleEndedIterator<Item = &PastOperation> {
        self.kept.iter()
    }

    /// Whether this is the same value, which has not changed since it was cloned.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kept, &other.kept)
    }

    /// Number of operations that began.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// An end whose beginning was dropped changes nothing, and so does a second one.
    pub(crate) fn apply(&mut self, at: Moment, record: OperationRecord) {
        match record {
            OperationRecord::Begin { by, what, details } => {
                self.begun += 1;
                self.push(PastOperation {
                    begun: at,
                    by,
                    what,
                    details,
                    end: None,
                });
            }
            OperationRecord::End { begun, code } => {
                let mut kept = Arc::make_mut(&mut self.kept).iter_mut().rev();
                // One entry may have several records; ends come in their order.
                let open = kept.find(|past| past.begun.index == begun && past.end.is_none());
                if let Some(past) = open {
                    past.end = Some(OperationEnd { at, code });
                }
            }
        }
    }

    fn push(&mut self, past: PastOperation) {
        let kept = Arc::make_mut(&mut self.kept);
        kept.push_back(past);
        if kept.len() > MAX_KEPT {
            kept.pop_front();
        }
    }

    /// Writes the part of a snapshot.
    pub(crate) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        wire::put_u64(to, self.begun)?;
        for past in self.kept.iter() {
            put_moment(to, past.begun)?;
            for text in [&past.by, &past.what, &past.details] {
                wire::put_bytes(to, text.as_bytes())?;
            }
            wire::put_u8(to, past.end.is_some().into())?;
            if let Some(end) = &past.end {
                put_moment(to, end.at)?;
                wire::put_bytes(to, end.code.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(mut part: &[u8]) -> io::Result<Self> {
        let from = &mut part;
        let mut operations = Self {
            begun: wire::take_u64(from)?,
            ..Self::default()
        };
        while !from.is_empty() {
            let begun = take_moment(from)?;
            let [by, what, details] = [take_text(from)?, take_text(from)?, take_text(from)?];
            let end = match wire::take_u8(from)? {
                0 => None,
                1 => Some(OperationEnd {
                    at: take_moment(from)?,
                    code: take_text(from)?,
                }),
                _ => return Err(wire::invalid("an operation has an end of an unknown kind")),
            };
            operations.push(PastOperation {
                begun,
                by,
                what,
                details,
                end,
            });
        }
        Ok(operations)
    }
}

fn put_moment(to: &mut dyn Write, moment: Moment) -> io::Result<()> {
    wire::put_u64(to, moment.index.0)?;
    wire::put_u64(to, moment.time_ms)
}

fn take_moment(from: &mut &[u8]) -> io::Result<Moment> {
    Ok(Moment {
        index: Index(wire::take_u64(from)?),
        time_ms: wire::take_u64(from)?,
    })
}

fn take_text(from: &mut &[u8]) -> io::Result<String> {
    wire::take_text(from, MAX_TEXT_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Moment {
        Moment {
            index: Index(index),
            time_ms: 1000 * index,
        }
    }

    fn begin(by: &str) -> OperationRecord {
        OperationRecord::Begin {
            by: by.to_owned(),
            what: "snapshot".to_owned(),
            details: String::new(),
        }
    }

    fn end(begun: u64, code: &str) -> OperationRecord {
        OperationRecord::End {
            begun: Index(begun),
            code: code.to_owned(),
        }
    }

    fn read_again(operations: &Operations) -> Operations {
        let mut part = Vec::new();
        operations.write(&mut part).unwrap();
        for length in 0..part.len() {
            let cut = Operations::read(&part[..length]);
            assert!(cut.is_err() || cut.is_ok_and(|cut| cut != *operations));
        }
        Operations::read(&part).unwrap()
    }

    #[test]
    fn an_operation_has_an_end_once() {
        let mut operations = Operations::default();
        assert!(operations.is_empty());
        operations.apply(at(1), begin("ann"));
        operations.apply(at(2), end(7, "lost"));
        operations.apply(at(3), end(1, "timeout"));
        operations.apply(at(4), end(1, ""));
        let kept: Vec<&PastOperation> = operations.kept().collect();
        let [past] = kept[..] else {
            panic!("{kept:?}");
        };
        assert_eq!((past.begun, past.by.as_str()), (at(1), "ann"));
        let ended = past.end.clone().unwrap();
        assert_eq!((ended.at, ended.code.as_str()), (at(3), "timeout"));
        assert_eq!(read_again(&operations), operations);
    }

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let mut operations = Operations::default();
        for index in 1..=MAX_KEPT as u64 + 3 {
            operations.apply(at(index), begin("ann"));
        }
        assert_eq!(operations.kept().count(), MAX_KEPT);
        assert_eq!(operations.kept().next().unwrap().begun, at(4));
        assert_eq!(operations.begun(), MAX_KEPT as u64 + 3);
        assert_eq!(read_again(&operations), operations);
    }

    #[test]
    fn the_part_of_a_snapshot_fits_into_its_limit() {
        let longest = "a".repeat(MAX_TEXT_BYTES);
        let mut operations = Operations::default();
        for index in 1..=MAX_KEPT as u64 {
            let record = OperationRecord::Begin {
                by: longest.clone(),
                what: longest.clone(),
                details: longest.clone(),
            };
            operations.apply(at(index), record);
            operations.apply(at(index), end(index, &longest));
        }
        let mut part = Vec::new();
        operations.write(&mut part).unwrap();
        // `host_state` limits a part, and all of them, to 1 MiB.
        assert!(part.len() < (1 << 20) - (256 << 10), "{}", part.len());
    }
}
