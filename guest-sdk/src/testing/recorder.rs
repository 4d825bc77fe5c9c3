//! A host in memory that records log lines, events, late replies and the wake time.

use std::cell::{Cell, RefCell};

use crate::caller::Caller;
use crate::context::{Event, Host, LateReply, Level};
use crate::token::Token;

/// A line that the guest wrote to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// Its text.
    pub message: String,
}

/// The reply to a deferred command, as its client gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct TestReply {
    /// Names the command.
    pub token: Token,
    /// Whether it is a reply. False: a refusal.
    pub accepted: bool,
    /// The encoded reply or refusal.
    pub body: Vec<u8>,
}

impl TestReply {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// The body is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body of a JSON guest is UTF-8")
    }
}

impl std::fmt::Debug for TestReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let result = if self.accepted { "accepted" } else { "refused" };
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{}: {result} {body}", self.token)
    }
}

/// Records log lines, events and late replies. Its random bytes depend on the entry's index.
#[derive(Debug)]
pub(super) struct Recorder {
    log: RefCell<Vec<LogLine>>,
    events: RefCell<Vec<Event>>,
    replies: RefCell<Vec<TestReply>>,
    wake_at: Cell<u64>,
    random: Cell<u64>,
    memory_is_low: Cell<bool>,
    reply_limit: Cell<u64>,
    caller: RefCell<Option<Caller>>,
}

/// The default of the host.
const REPLY_BYTES: u64 = 4 << 20;

impl Default for Recorder {
    fn default() -> Self {
        Self {
            log: RefCell::default(),
            events: RefCell::default(),
            replies: RefCell::default(),
            wake_at: Cell::default(),
            random: Cell::default(),
            memory_is_low: Cell::new(false),
            reply_limit: Cell::new(REPLY_BYTES),
            caller: RefCell::default(),
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

    pub(super) fn set_caller(&self, caller: Option<Caller>) {
        self.caller.replace(caller);
    }

    /// Begins an entry: seeds the generator with the index, as the host does.
    pub(super) fn enter(&self, index: u64) {
        self.random.set(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }

    pub(super) fn take_replies(&self) -> Vec<TestReply> {
        self.replies.take()
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

    fn complete(&self, reply: LateReply) {
        let LateReply {
            token,
            accepted,
            body,
        } = reply;
        self.replies.borrow_mut().push(TestReply {
            token,
            accepted,
            body,
        });
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

    fn has_callers(&self) -> bool {
        self.caller.borrow().is_some()
    }

    /// All commands and queries have the same.
    fn caller(&self, _: u32) -> Option<Caller> {
        self.caller.borrow().clone()
    }
}
