//! One state machine and a host in memory.

use super::recorder::{LogLine, Recorder, TestReply};
use crate::caller::Caller;
use crate::codec::Codec;
use crate::context::{Event, Host, LogPosition, Read};
use crate::engine::{self, CommandVerdict};
use crate::guest::Guest;
use crate::live::LiveGuest;
use crate::snapshot::RestoreError;
use crate::token::Token;

/// Time of a new harness, in milliseconds: 2020-01-01 UTC.
pub const START_MS: u64 = 1_577_836_800_000;

/// Most wake-ups at one time. A guest that always requests one more would never let the clock advance.
const MAX_WAKES_AT_ONE_TIME: u32 = 10_000;

/// Result of one command or query that was sent as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// Whether the guest accepted it. False: it was refused. A deferred command was accepted.
    pub accepted: bool,
    /// The command is deferred under this token. Its reply is later in [`Harness::take_replies`].
    pub deferred: Option<Token>,
    /// The encoded reply, response or refusal, as the client gets it. Empty for a deferred command.
    pub body: Vec<u8>,
}

impl TestOutcome {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// The body is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body of a JSON guest is UTF-8")
    }
}

impl std::fmt::Debug for TestOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(token) = self.deferred {
            return write!(f, "deferred {token}");
        }
        let result = if self.accepted { "accepted" } else { "refused" };
        write!(f, "{result} {}", String::from_utf8_lossy(&self.body))
    }
}

/// One state machine with a host in memory, without a cluster.
///
/// Each entry increments the index by one. The clock changes only when the test advances it, and then timers and deadlines
/// fire as on a node. Every refusal is checked: if the snapshots before and after it differ, the test panics. Snapshots
/// include timers and deferred commands.
///
/// ```
/// # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Bell { rung: u64 }
/// # #[derive(serde::Deserialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Command { Ring {} }
/// # #[state_machine(name = "bell", version = 1)]
/// # impl StateMachine for Bell {
/// #     type Command = Command; type Reply = u64; type Query = (); type Response = u64; type Refusal = Refusal;
/// #     fn apply(&mut self, cx: &mut Apply<'_>, _: Command) -> Result<u64, Refusal> {
/// #         self.rung += 1;
/// #         cx.emit("ring", "ding");
/// #         Ok(self.rung)
/// #     }
/// #     fn query(&self, _: &Read<'_>, _: ()) -> Result<u64, Refusal> { Ok(self.rung) }
/// # }
/// use oarlock_guest::testing::Harness;
///
/// let mut bell = Harness::<Bell>::new();
/// assert_eq!(bell.apply(Command::Ring {}), Ok(1));
/// assert_eq!(bell.send(r#"{"ring":{}}"#).text(), "2");
/// assert_eq!(bell.take_events().len(), 2);
/// assert_eq!(bell.restored().query(()), Ok(2));
/// ```
pub struct Harness<M: Guest> {
    guest: LiveGuest<M>,
    position: LogPosition,
    host: Recorder,
    /// Wake-ups since the clock advanced.
    wakes: u32,
    /// Snapshot after the last entry. `None` if refusals are not checked.
    last_snapshot: Option<Vec<u8>>,
}

impl<M: Guest> Default for Harness<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Guest> Harness<M> {
    /// A machine without any command, at [`START_MS`].
    pub fn new() -> Self {
        Self::with_state(M::default())
    }

    /// A machine with a given state.
    ///
    /// # Panics
    ///
    /// The layout of the state cannot be derived, and the attribute does not name it.
    pub fn with_state(machine: M) -> Self {
        super::layout::<M>();
        let guest = LiveGuest {
            machine,
            ..LiveGuest::default()
        };
        let last_snapshot = Some(encode_snapshot(&guest));
        let position = LogPosition {
            index: 0,
            time_ms: START_MS,
        };
        Self {
            guest,
            position,
            host: Recorder::default(),
            wakes: 0,
            last_snapshot,
        }
    }

    /// Disables the check of refusals, which writes a snapshot after each entry. Use it for long runs.
    #[must_use]
    pub fn without_refusal_check(mut self) -> Self {
        self.last_snapshot = None;
        self
    }

    /// The state, for tests in the guest's crate.
    pub fn state(&self) -> &M {
        &self.guest.machine
    }

    /// Index of the last entry, 0 before the first.
    pub fn index(&self) -> u64 {
        self.position.index
    }

    /// The replicated time, in milliseconds since 1970-01-01 UTC.
    pub fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// Advances the clock, and wakes the guest each time that something falls due: timers, deadlines and the wake time fire
    /// in the order of their times, each wake-up in its own entry. It cannot go back.
    ///
    /// # Panics
    ///
    /// The guest was woken 10,000 times without an end: in each wake-up it sets a time that has passed.
    pub fn advance_ms(&mut self, by_ms: u64) -> &mut Self {
        let end_ms = self.position.time_ms + by_ms;
        while self.is_woken_by(end_ms) {
            self.advance_to_wake();
        }
        self.skip_ms(end_ms - self.position.time_ms)
    }

    /// Advances the clock to the [wake time](Self::wake_at), if there is one, and wakes the guest. Returns whether there was
    /// one.
    ///
    /// # Panics
    ///
    /// As [`advance_ms`](Self::advance_ms).
    pub fn advance_to_wake(&mut self) -> bool {
        let Some(wake_ms) = self.wake_at() else {
            return false;
        };
        self.skip_ms(wake_ms.saturating_sub(self.position.time_ms));
        self.wakes += 1;
        assert!(
            self.wakes < MAX_WAKES_AT_ONE_TIME,
            "{} was woken {MAX_WAKES_AT_ONE_TIME} times at one time: in each wake-up it sets a time that has passed",
            M::NAME
        );
        self.enter_wake(false);
        true
    }

    /// Advances the clock and wakes nothing: as if the next command is applied before the wake-up of what fell due. On a
    /// node this happens for a short time.
    pub fn skip_ms(&mut self, by_ms: u64) -> &mut Self {
        if by_ms > 0 {
            self.position.time_ms += by_ms;
            self.wakes = 0;
        }
        self
    }

    /// Sets what [`Apply::memory_is_low`](crate::Apply::memory_is_low) returns from now on. It is false in a new harness.
    pub fn set_memory_is_low(&mut self, is_low: bool) -> &mut Self {
        self.host.set_memory_is_low(is_low);
        self
    }

    /// Sets what [`Apply::reply_limit`](crate::Apply::reply_limit) returns from now on, in bytes. It is 4 MiB in a new harness.
    pub fn set_reply_limit(&mut self, bytes: u64) -> &mut Self {
        self.host.set_reply_limit(bytes);
        self
    }

    /// Sets who sends all commands and queries from now on: what [`Apply::caller`](crate::Apply::caller) returns. It is `None` in a
    /// new harness, and always in wake-ups.
    pub fn set_caller(&mut self, caller: Option<Caller>) -> &mut Self {
        self.host.set_caller(caller);
        self
    }

    /// Applies a typed command in its own entry. If it is deferred, the result is the reply at its deadline;
    /// [`waiting`](Self::waiting) has its token.
    ///
    /// # Errors
    ///
    /// The guest's refusal.
    ///
    /// # Panics
    ///
    /// The command was refused but changed the state, or the reply to a deferred command cannot be encoded.
    pub fn apply(&mut self, command: M::Command) -> Result<M::Reply, M::Refusal> {
        self.next_entry();
        match engine::apply_typed(&mut self.guest, &self.host, self.position, command) {
            Ok(result) => {
                self.check_refusal(result.is_err());
                result
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Applies an encoded command, as a client sends it, in its own entry.
    ///
    /// # Panics
    ///
    /// The command was refused but changed the state, or the codec cannot encode the reply.
    pub fn send(&mut self, command: impl AsRef<[u8]>) -> TestOutcome {
        self.next_entry();
        self.apply_bytes(command.as_ref())
    }

    /// Applies several commands in one entry, with the same index and time.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_batch(&mut self, commands: &[impl AsRef<[u8]>]) -> Vec<TestOutcome> {
        self.next_entry();
        commands
            .iter()
            .map(|command| self.apply_bytes(command.as_ref()))
            .collect()
    }

    /// Calls [`StateMachine::on_wake`](crate::StateMachine::on_wake) in its own entry, even if the wake time is not reached.
    /// Timers and deadlines fire in the same entry if they are due.
    pub fn wake(&mut self) {
        self.enter_wake(true);
    }

    /// Evaluates a typed query.
    ///
    /// # Errors
    ///
    /// The guest's refusal.
    pub fn query(&self, query: M::Query) -> Result<M::Response, M::Refusal> {
        let cx = Read::new(&self.host, self.position);
        self.guest.machine.query(&cx, query)
    }

    /// Evaluates an encoded query, as a client sends it. `accepted` is false if it was refused.
    ///
    /// # Panics
    ///
    /// The codec cannot encode the response.
    pub fn send_query(&self, query: impl AsRef<[u8]>) -> TestOutcome {
        let machine = &self.guest.machine;
        match engine::query(machine, &self.host, self.position, query.as_ref()) {
            Ok(result) => TestOutcome {
                accepted: result.is_ok(),
                deferred: None,
                body: result.unwrap_or_else(|refusal| refusal),
            },
            Err(error) => panic!("{error}"),
        }
    }

    /// Encodes a reply with the guest's codec, to compare it byte for byte.
    ///
    /// # Panics
    ///
    /// The codec cannot encode the reply.
    pub fn encoded(reply: &M::Reply) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = M::Codec::encode_reply(reply, &mut out) {
            panic!("{error}");
        }
        out
    }

    /// The events of accepted commands since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.host.take_events()
    }

    /// The replies to deferred commands since the last call.
    pub fn take_replies(&mut self) -> Vec<TestReply> {
        self.host.take_replies()
    }

    /// The tokens of the deferred commands that have no reply yet, oldest first.
    pub fn waiting(&self) -> Vec<Token> {
        self.guest.runtime.waiting()
    }

    /// The log lines since the last call.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.host.take_log()
    }

    /// The time of the next wake-up, in milliseconds since 1970-01-01 UTC: the earliest of the timers, the deadlines and the
    /// time that [`Apply::wake_at`](crate::Apply::wake_at) set. `None`: there is none.
    pub fn wake_at(&self) -> Option<u64> {
        self.host.wake_time()
    }

    /// The snapshot of the state.
    ///
    /// # Panics
    ///
    /// The state cannot be encoded.
    pub fn snapshot(&self) -> Vec<u8> {
        encode_snapshot(&self.guest)
    }

    /// Replaces the state with that of a snapshot. Index and clock do not change.
    ///
    /// # Errors
    ///
    /// The snapshot is refused. The state does not change.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.guest = decode_snapshot(snapshot)?;
        if self.last_snapshot.is_some() {
            self.last_snapshot = Some(self.snapshot());
        }
        Ok(())
    }

    /// A new harness at the same index and time, restored from this one's snapshot.
    ///
    /// # Panics
    ///
    /// The machine cannot read its own snapshot.
    pub fn restored(&self) -> Self {
        let mut copy = Self::with_state(M::default());
        copy.position = self.position;
        copy.host.set_caller(self.host.caller(0));
        if let Err(error) = copy.restore(&self.snapshot()) {
            panic!("{} cannot read its own snapshot: {error}", M::NAME);
        }
        if let Some(time_ms) = self.wake_at() {
            copy.set_wake_time(time_ms);
        }
        if self.last_snapshot.is_none() {
            copy.without_refusal_check()
        } else {
            copy
        }
    }

    /// Sets index, clock and caller to those of another harness.
    pub(super) fn set_position<N: Guest>(&mut self, other: &Harness<N>) {
        self.position = other.position;
        self.host.set_caller(other.host.caller(0));
    }

    /// Copies the wake time, which the host stores and a snapshot does not contain.
    pub(super) fn set_wake_time(&self, time_ms: u64) {
        self.host.wake_at(time_ms);
    }

    fn next_entry(&mut self) {
        self.position.index += 1;
        self.host.enter(self.position.index);
    }

    fn apply_bytes(&mut self, command: &[u8]) -> TestOutcome {
        let ends = [u32::try_from(command.len()).expect("a command has less than 4 GiB")];
        match engine::apply_batch(&mut self.guest, &self.host, self.position, command, &ends) {
            Ok(engine::Outcomes { verdicts, data, .. }) => {
                let outcome = outcome(verdicts[0], data);
                self.check_refusal(!outcome.accepted);
                outcome
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether a wake-up is due at this time.
    pub(super) fn is_woken_by(&self, time_ms: u64) -> bool {
        self.wake_at().is_some_and(|wake_ms| wake_ms <= time_ms)
    }

    fn enter_wake(&mut self, calls_on_wake: bool) {
        self.next_entry();
        self.host.wake_at(0);
        engine::wake(&mut self.guest, &self.host, self.position, calls_on_wake);
        self.check_refusal(false);
    }

    /// If the command was refused, compares the state with the one before it. Keeps the snapshot for the next entry.
    fn check_refusal(&mut self, refused: bool) {
        let Some(before) = &self.last_snapshot else {
            return;
        };
        let after = encode_snapshot(&self.guest);
        assert!(
            !refused || *before == after,
            "the command of entry {} was refused but changed the state of {}; a refused command must not change the state: \
             check first, change after",
            self.position.index,
            M::NAME
        );
        self.last_snapshot = Some(after);
    }
}

fn outcome(verdict: CommandVerdict, body: Vec<u8>) -> TestOutcome {
    if verdict == CommandVerdict::Deferred {
        let number = body.try_into().map(u64::from_le_bytes);
        return TestOutcome {
            accepted: true,
            deferred: Some(Token::new(number.expect("a token has eight bytes"))),
            body: Vec::new(),
        };
    }
    TestOutcome {
        accepted: verdict == CommandVerdict::Accepted,
        deferred: None,
        body,
    }
}

fn encode_snapshot<M: Guest>(guest: &LiveGuest<M>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = guest.write(&mut |chunk| bytes.extend_from_slice(chunk)) {
        panic!("{}: {error}", M::NAME);
    }
    bytes
}

fn decode_snapshot<M: Guest>(snapshot: &[u8]) -> Result<LiveGuest<M>, RestoreError> {
    let mut rest = snapshot;
    LiveGuest::read(0, &mut |most| {
        let (chunk, later) = rest.split_at(rest.len().min(most as usize));
        rest = later;
        chunk.to_vec()
    })
}

#[cfg(test)]
mod tests;
