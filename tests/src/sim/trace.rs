//! What happened in a simulation: a running hash of everything, and on request lines of text.

use std::collections::VecDeque;
use std::time::Duration;

/// FNV-1a over 64-bit numbers: enough to distinguish two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    pub(crate) fn number(&mut self, number: u64) {
        // Two rounds, with a rotation between, so that high bits reach low ones.
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(29);
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut number = [0; 8];
            number[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(number));
        }
    }
}

/// Which lines of a run are kept as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceLines {
    /// None: the hash is enough.
    #[default]
    None,
    /// The last ones, for the report of a failure.
    Last(usize),
    /// All, printed at once.
    Print,
}

/// The record of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Hash,
    events: u64,
    lines: TraceLines,
    kept: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(lines: TraceLines) -> Self {
        Self {
            hash: Hash::default(),
            events: 0,
            lines,
            kept: VecDeque::new(),
        }
    }

    /// Notes an event. Its text is formatted only where it is kept.
    pub(crate) fn note(
        &mut self,
        now: Duration,
        node: usize,
        fact: u64,
        text: impl FnOnce() -> String,
    ) {
        self.events += 1;
        self.hash
            .number(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        self.hash.number(node as u64);
        self.hash.number(fact);
        let line = || format!("{:>11.6} n{node} {}", now.as_secs_f64(), text());
        match self.lines {
            TraceLines::None => {}
            TraceLines::Last(limit) => {
                if self.kept.len() >= limit {
                    self.kept.pop_front();
                }
                self.kept.push_back(line());
            }
            TraceLines::Print => println!("{}", line()),
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn take_kept(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept).into()
    }
}
