//! One state machine and a host in memory.

use super::recorder::{LogLine, Recorder};
use crate::codec::Codec;
use crate::context::{Apply, Event, Host, LogPosition, Read};
use crate::engine;
use crate::guest::Guest;
use crate::snapshot::{self, RestoreError};

/// Time of a new harness, in milliseconds: 2020-01-01 UTC.
pub const START_MS: u64 = 1_577_836_800_000;

/// Result of one command or query that was sent as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// Whether the guest accepted it. False: it was refused.
    pub accepted: bool,
    /// The encoded reply, response or refusal, as the client gets it.
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
        let result = if self.accepted { "accepted" } else { "refused" };
        write!(f, "{result} {}", String::from_utf8_lossy(&self.body))
    }
}

/// One state machine with a host in memory, without a cluster.
///
/// Each entry increments the index by one. The clock changes only when the test advances it. Every refusal is checked: if
/// the snapshots before and after it differ, the test panics.
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
    machine: M,
    position: LogPosition,
    host: Recorder,
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
        let last_snapshot = Some(encode_snapshot(&machine));
        let position = LogPosition {
            index: 0,
            time_ms: START_MS,
        };
        Self {
            machine,
            position,
            host: Recorder::default(),
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
        &self.machine
    }

    /// Index of the last entry, 0 before the first.
    pub fn index(&self) -> u64 {
        self.position.index
    }

    /// The replicated time, in milliseconds since 1970-01-01 UTC.
    pub fn time_ms(&self) -> u64 {
        self.position.time_ms
    }

    /// Advances the clock. It cannot go back.
    pub fn advance_ms(&mut self, by_ms: u64) -> &mut Self {
        self.position.time_ms += by_ms;
        self
    }

    /// Sets what [`Apply::memory_is_low`] returns from now on. It is false in a new harness.
    pub fn set_memory_is_low(&mut self, is_low: bool) -> &mut Self {
        self.host.set_memory_is_low(is_low);
        self
    }

    /// Sets what [`Apply::reply_limit`] returns from now on, in bytes. It is 4 MiB in a new harness.
    pub fn set_reply_limit(&mut self, bytes: u64) -> &mut Self {
        self.host.set_reply_limit(bytes);
        self
    }

    /// Applies a typed command in its own entry.
    ///
    /// # Errors
    ///
    /// The guest's refusal.
    ///
    /// # Panics
    ///
    /// The command was refused but changed the state.
    pub fn apply(&mut self, command: M::Command) -> Result<M::Reply, M::Refusal> {
        self.next_entry();
        let mut cx = Apply::new(&self.host, self.position);
        let result = self.machine.apply(&mut cx, command);
        if result.is_ok() {
            cx.commit();
        }
        self.check_refusal(result.is_err());
        result
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

    /// Calls [`StateMachine::on_wake`](crate::StateMachine::on_wake) in its own entry, even if the
    /// [wake time](Self::wake_at) is not reached.
    pub fn wake(&mut self) {
        self.next_entry();
        engine::wake(&mut self.machine, &self.host, self.position);
        self.check_refusal(false);
    }

    /// Evaluates a typed query.
    ///
    /// # Errors
    ///
    /// The guest's refusal.
    pub fn query(&self, query: M::Query) -> Result<M::Response, M::Refusal> {
        self.machine
            .query(&Read::new(&self.host, self.position), query)
    }

    /// Evaluates an encoded query, as a client sends it. `accepted` is false if it was refused.
    ///
    /// # Panics
    ///
    /// The codec cannot encode the response.
    pub fn send_query(&self, query: impl AsRef<[u8]>) -> TestOutcome {
        match engine::query(&self.machine, &self.host, self.position, query.as_ref()) {
            Ok(Ok(body)) => TestOutcome {
                accepted: true,
                body,
            },
            Ok(Err(body)) => TestOutcome {
                accepted: false,
                body,
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

    /// The log lines since the last call.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.host.take_log()
    }

    /// The wake time that the guest set, in milliseconds since 1970-01-01 UTC, if any.
    pub fn wake_at(&self) -> Option<u64> {
        self.host.wake_time()
    }

    /// The snapshot of the state.
    ///
    /// # Panics
    ///
    /// The state cannot be encoded.
    pub fn snapshot(&self) -> Vec<u8> {
        encode_snapshot(&self.machine)
    }

    /// Replaces the state with that of a snapshot. Index and clock do not change.
    ///
    /// # Errors
    ///
    /// The snapshot is refused. The state does not change.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.machine = decode_snapshot(snapshot)?;
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

    /// Sets index and clock to those of another harness.
    pub(super) fn set_position<N: Guest>(&mut self, other: &Harness<N>) {
        self.position = other.position;
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
        match engine::apply_batch(&mut self.machine, &self.host, self.position, command, &ends) {
            Ok(engine::Outcomes {
                accepted,
                data: body,
                ..
            }) => {
                let accepted = accepted == [true];
                self.check_refusal(!accepted);
                TestOutcome { accepted, body }
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// If the command was refused, compares the state with the one before it. Keeps the snapshot for the next entry.
    fn check_refusal(&mut self, refused: bool) {
        let Some(before) = &self.last_snapshot else {
            return;
        };
        let after = encode_snapshot(&self.machine);
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

fn encode_snapshot<M: Guest>(machine: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = snapshot::write(machine, &[], &mut |chunk| bytes.extend_from_slice(chunk)) {
        panic!("{}: {error}", M::NAME);
    }
    bytes
}

fn decode_snapshot<M: Guest>(snapshot: &[u8]) -> Result<M, RestoreError> {
    let mut rest = snapshot;
    let restored = snapshot::read(0, &mut |most| {
        let (chunk, later) = rest.split_at(rest.len().min(most as usize));
        rest = later;
        chunk.to_vec()
    });
    restored.map(|restored| restored.state)
}

#[cfg(test)]
mod tests;
