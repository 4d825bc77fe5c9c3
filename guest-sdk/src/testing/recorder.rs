//! A host in memory that records log lines, events and the wake time.

use std::cell::{Cell, RefCell};

use crate::context::{Event, Host, Level};

/// A line that the guest wrote to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// Its text.
    pub message: String,
}

/// Records log lines and events. Its random bytes depend on the entry's index.
#[derive(Debug)]
pub(super) struct Recorder {
    log: RefCell<Vec<LogLine>>,
    events: RefCell<Vec<Event>>,
    wake_at: Cell<u64>,
    random: Cell<u64>,
    memory_is_low: Cell<bool>,
    reply_limit: Cell<u64>,
}

/// The default of the host.
const REPLY_BYTES: u64 = 4 << 20;

impl Default for Recorder {
    fn default() -> Self {
        Self {
            log: RefCell::default(),
            events: RefCell::default(),
            wake_at: Cell::default(),
            random: Cell::default(),
            memory_is_low: Cell::new(false),
            reply_limit: Cell::new(REPLY_BYTES),
        }
    }
}

impl Recorder {
    pub(super) fn set_memory_is_low(&self, is_low: bool) {
        self.memory_is_low.set(is_low);
    }

    pub(super) fn set_reply_limit(&self, bytes: u64) {
        self.reply_limit.set(bytes);
    }

    /// Begins an entry: seeds the generator with the index, as the host does.
    pub(super) fn enter(&self, index: u64) {
        self.random.set(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }

    pub(super) fn take_log(&self) -> Vec<LogLine> {
        self.log.take()
    }

    pub(super) fn wake_time(&self) -> Option<u64> {
        Some(self.wake_at.get()).filter(|time_ms| *time_ms != 0)
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn next(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Host for Recorder {
    fn log(&self, level: Level, message: &str) {
        self.log.borrow_mut().push(LogLine {
            level,
            message: message.to_owned(),
        });
    }

    fn emit(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    fn wake_at(&self, time_ms: u64) {
        self.wake_at.set(time_ms);
    }

    fn random(&self, length: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length as usize {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length as usize);
        bytes
    }

    fn memory_is_low(&self) -> bool {
        self.memory_is_low.get()
    }

    fn reply_limit(&self) -> u64 {
        self.reply_limit.get()
    }
}
