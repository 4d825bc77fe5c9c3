//! The latest lines of the log, stored in memory for the clients of `GET /v1/logs`.
//!
//! Writing never waits for a client. Each client reads the stored lines at its own speed. A client that falls so far behind
//! that a line is dropped before it has read it receives a gap notice.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::wall_clock;

/// Most stored lines; the oldest are dropped.
pub(crate) const KEPT_LINES: usize = 10_000;
/// Most bytes of stored lines, including [`LINE_COST`] for each.
const KEPT_BYTES: usize = 4 << 20;
/// Approximate memory per line in addition to its text, in bytes.
const LINE_COST: usize = 96;
/// Longest text of a line, in bytes. The rest is cut off.
const TEXT_BYTES: usize = 8 << 10;

/// How severe a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Severity {
    /// All of them with their names, the least severe first.
    const ALL: [(&str, Self); 5] = [
        ("trace", Self::Trace),
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
    ];
    pub(crate) const NAMES: [&str; 5] = names(&Self::ALL);
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        named(&Self::ALL, name).ok_or(())
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name_of(&Self::ALL, *self))
    }
}

/// Who wrote a line. Only the host sets it, so a guest cannot write a line of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineSource {
    Guest,
    Node,
}

impl LineSource {
    /// All of them with their names.
    const ALL: [(&str, Self); 2] = [("guest", Self::Guest), ("node", Self::Node)];
    pub(crate) const NAMES: [&str; 2] = names(&Self::ALL);
}

impl FromStr for LineSource {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        named(&Self::ALL, name).ok_or(())
    }
}

impl Serialize for LineSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name_of(&Self::ALL, *self))
    }
}

/// The names in a table of values.
const fn names<T, const N: usize>(all: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut position = 0;
    while position < N {
        names[position] = all[position].0;
        position += 1;
    }
    names
}

/// The value with a name.
fn named<T: Copy>(all: &[(&str, T)], name: &str) -> Option<T> {
    let found = all.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

/// The name of a value.
fn name_of<T: PartialEq>(all: &[(&'static str, T)], value: T) -> &'static str {
    let found = all.iter().find(|(_, known)| *known == value);
    found.map_or_else(
        || unreachable!("the table has all values"),
        |(name, _)| *name,
    )
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NodeLogLine {
    /// Wall-clock time of this node, in milliseconds since 1970-01-01 UTC.
    pub(crate) time_ms: u64,
    pub(crate) level: Severity,
    pub(crate) source: LineSource,
    /// The module of the program that wrote it; `guest` for the guest.
    pub(crate) target: &'static str,
    /// The message, followed by its fields.
    pub(crate) text: Arc<str>,
}

/// The position of a line: the log, and its number there, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineId {
    /// A process has one log, with a random number.
    pub(crate) log: u64,
    pub(crate) number: u64,
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.log, self.number)
    }
}

impl FromStr for LineId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (log, number) = text.split_once('.').ok_or(())?;
        let is_log = log.len() == 16 && log.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_log || !is_number {
            return Err(());
        }
        Ok(Self {
            log: u64::from_str_radix(log, 16).map_err(|_| ())?,
            number: number.parse().map_err(|_| ())?,
        })
    }
}

/// The next item for a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextLine {
    /// The next line.
    Line(LineId, NodeLogLine),
    /// Lines up to this one were dropped: how many. `None`: they were in the log of an earlier process.
    Gap(LineId, Option<u64>),
    /// There is no later line yet.
    None,
}

/// Number of lines, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineCounts {
    pub(crate) written: u64,
    /// Dropped before a client read them, in all gaps that clients received.
    pub(crate) missed: u64,
}

/// The latest lines of the log. A process has one, which all of its nodes share.
pub(crate) struct NodeLog {
    id: u64,
    store: Mutex<LineStore>,
    changes: watch::Sender<()>,
    missed: AtomicU64,
}

#[derive(Default)]
struct LineStore {
    kept: VecDeque<NodeLogLine>,
    bytes: usize,
    /// Number of the last line.
    last: u64,
}

impl NodeLog {
    /// The log of this process.
    pub(crate) fn of_process() -> Arc<Self> {
        static LOG: LazyLock<Arc<NodeLog>> = LazyLock::new(|| {
            // Without randomness, the time of the start tells two processes apart.
            let id = getrandom::u64().unwrap_or_else(|_| wall_clock::now_ms());
            Arc::new(NodeLog::new(id))
        });
        Arc::clone(&LOG)
    }

    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            store: Mutex::default(),
            changes: watch::Sender::new(()),
            missed: AtomicU64::new(0),
        }
    }

    /// Stores a line.
    pub(crate) fn write(&self, mut line: NodeLogLine) {
        if line.text.len() > TEXT_BYTES {
            line.text = line.text[..line.text.floor_char_boundary(TEXT_BYTES)].into();
        }
        self.lock().push(line);
        self.changes.send_replace(());
    }

    /// The first item after a position.
    pub(crate) fn after(&self, place: LineId) -> NextLine {
        let store = self.lock();
        let first = store.first();
        if place.log != self.id || place.number > store.last {
            return NextLine::Gap(self.place(first - 1), None);
        }
        if place.number + 1 < first {
            let lost = first - 1 - place.number;
            self.missed.fetch_add(lost, Ordering::Relaxed);
            return NextLine::Gap(self.place(first - 1), Some(lost));
        }
        // At most `KEPT_LINES`.
        let position = usize::try_from(place.number + 1 - first).unwrap_or(usize::MAX);
        match store.kept.get(position) {
            Some(line) => NextLine::Line(self.place(place.number + 1), line.clone()),
            None => NextLine::None,
        }
    }

    /// The position after which the last `count` lines are that `is_wanted` accepts.
    pub(crate) fn before_last(
        &self,
        count: usize,
        is_wanted: impl Fn(&NodeLogLine) -> bool,
    ) -> LineId {
        let store = self.lock();
        let newest_first = (1..=store.last).rev().zip(store.kept.iter().rev());
        let wanted = newest_first.filter(|(_, line)| is_wanted(line));
        let oldest = wanted.take(count).last();
        self.place(oldest.map_or(store.last, |(number, _)| number - 1))
    }

    /// Notifies of new lines.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// For the metrics.
    pub(crate) fn counts(&self) -> LineCounts {
        LineCounts {
            written: self.lock().last,
            missed: self.missed.load(Ordering::Relaxed),
        }
    }

    fn place(&self, number: u64) -> LineId {
        LineId {
            log: self.id,
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, LineStore> {
        // No method leaves the store inconsistent when it panics.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LineStore {
    /// Number of the oldest stored line, or of the next one if there is none.
    fn first(&self) -> u64 {
        self.last + 1 - self.kept.len() as u64
    }

    fn push(&mut self, line: NodeLogLine) {
        self.last += 1;
        self.bytes += cost(&line);
        self.kept.push_back(line);
        while self.kept.len() > KEPT_LINES || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.bytes -= cost(&oldest);
        }
    }
}

fn cost(line: &NodeLogLine) -> usize {
    LINE_COST + line.text.len()
}

#[cfg(test)]
mod tests;
