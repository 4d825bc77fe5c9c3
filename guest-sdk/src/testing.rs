//! A host in memory, for the native tests of a guest.
//!
//! [`Harness`] drives one machine; [`TestCluster`] drives several copies of it that have to stay the same, over restarts
//! and upgrades. [`assert_live_and_restored_agree`] does so with a list of entries.

mod agree;
mod cluster;
mod recorder;

pub use agree::{Step, assert_live_and_restored_agree};
pub use cluster::TestCluster;

use recorder::Recorder;

use crate::codec::Codec;
use crate::context::{Apply, Event, Host, Level, Moment, Read};
use crate::engine;
use crate::machine::Guest;
use crate::snapshot::{self, RestoreError};

/// Time of a new harness, in milliseconds: 2020-01-01 UTC.
pub const START_MS: u64 = 1_577_836_800_000;

/// What became of one command given as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// False if it was refused.
    pub accepted: bool,
    /// The reply or the refusal, as a client sees it.
    pub body: Vec<u8>,
}

impl Outcome {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// The body is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body of a JSON guest is UTF-8")
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.accepted { "accepted" } else { "refused" };
        write!(f, "{verdict} {}", String::from_utf8_lossy(&self.body))
    }
}

/// A line that the guest wrote to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
}

/// One machine and a host for it, without a cluster.
///
/// The index rises by one with each entry, and the clock stands where the test puts it. Every refusal is
/// checked: if the snapshot after it is not that of before, the test panics.
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
/// #     type Command = Command; type Reply = u64; type Query = (); type Answer = u64; type Refusal = Refusal;
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
    moment: Moment,
    host: Recorder,
    /// The snapshot after the last entry, if refusals are checked.
    written: Option<Vec<u8>>,
}

impl<M: Guest> Default for Harness<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Guest> Harness<M> {
    /// A machine that has seen nothing, at [`START_MS`].
    pub fn new() -> Self {
        Self::with_state(M::default())
    }

    /// A machine with a state of the test's making.
    pub fn with_state(machine: M) -> Self {
        let written = Some(written(&machine));
        let moment = Moment {
            index: 0,
            time_ms: START_MS,
        };
        Self {
            machine,
            moment,
            host: Recorder::default(),
            written,
        }
    }

    /// Leaves out the check of refusals, which writes the whole state after each entry. For long runs.
    #[must_use]
    pub fn without_refusal_check(mut self) -> Self {
        self.written = None;
        self
    }

    /// The state, for tests inside the guest's crate.
    pub fn state(&self) -> &M {
        &self.machine
    }

    /// Index of the last entry, 0 before the first.
    pub fn index(&self) -> u64 {
        self.moment.index
    }

    /// The replicated time in milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.moment.time_ms
    }

    /// Moves the clock on. It cannot go back, as in the log.
    pub fn advance_ms(&mut self, by_ms: u64) -> &mut Self {
        self.moment.time_ms += by_ms;
        self
    }

    /// Applies a typed command as an entry of its own.
    ///
    /// # Errors
    ///
    /// The guest's refusal.
    ///
    /// # Panics
    ///
    /// The command was refused and changed the state.
    pub fn apply(&mut self, command: M::Command) -> Result<M::Reply, M::Refusal> {
        self.next_entry();
        let mut cx = Apply::new(&self.host, self.moment);
        let result = self.machine.apply(&mut cx, command);
        if result.is_ok() {
            cx.commit();
        }
        self.check_refusal(result.is_err());
        result
    }

    /// Applies a command as a client sends it, as an entry of its own.
    ///
    /// # Panics
    ///
    /// The command was refused and changed the state, or the reply has no form in the codec.
    pub fn send(&mut self, command: impl AsRef<[u8]>) -> Outcome {
        self.next_entry();
        self.apply_bytes(command.as_ref())
    }

    /// Applies several commands as one entry, so that they share an index and a time.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_batch(&mut self, commands: &[impl AsRef<[u8]>]) -> Vec<Outcome> {
        self.next_entry();
        commands
            .iter()
            .map(|command| self.apply_bytes(command.as_ref()))
            .collect()
    }

    /// Calls [`StateMachine::on_wake`](crate::StateMachine::on_wake) as an entry of its own. Whether it is
    /// due is for the test to say, with [`wake_at`](Self::wake_at).
    pub fn wake(&mut self) {
        self.next_entry();
        engine::wake(&mut self.machine, &self.host, self.moment);
        self.check_refusal(false);
    }

    /// Answers a typed query.
    ///
    /// # Errors
    ///
    /// The guest's refusal.
    pub fn query(&self, query: M::Query) -> Result<M::Answer, M::Refusal> {
        self.machine
            .query(&Read::new(&self.host, self.moment), query)
    }

    /// Answers a query as a client sends it. `accepted` is false if it was refused.
    ///
    /// # Panics
    ///
    /// The answer has no form in the codec.
    pub fn ask(&self, query: impl AsRef<[u8]>) -> Outcome {
        match engine::query(&self.machine, &self.host, self.moment, query.as_ref()) {
            Ok(Ok(body)) => Outcome {
                accepted: true,
                body,
            },
            Ok(Err(body)) => Outcome {
                accepted: false,
                body,
            },
            Err(error) => panic!("{error}"),
        }
    }

    /// Writes a reply as the guest's codec does, to compare it byte for byte.
    ///
    /// # Panics
    ///
    /// The reply has no form in the codec.
    pub fn encoded(reply: &M::Reply) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(error) = M::Codec::encode_reply(reply, &mut out) {
            panic!("{error}");
        }
        out
    }

    /// The events of accepted commands since this was last called.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.host.take_events()
    }

    /// The log lines since this was last called.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.host.take_log()
    }

    /// The time that the guest asked to be woken at, in milliseconds, if it did.
    pub fn wake_at(&self) -> Option<u64> {
        self.host.wake_time()
    }

    /// The whole state as bytes.
    ///
    /// # Panics
    ///
    /// The state has a part that cannot be written.
    pub fn snapshot(&self) -> Vec<u8> {
        written(&self.machine)
    }

    /// Replaces the state by that of a snapshot. Index and clock stay.
    ///
    /// # Errors
    ///
    /// The snapshot is refused, and the state stays.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.machine = read(snapshot)?;
        if self.written.is_some() {
            self.written = Some(self.snapshot());
        }
        Ok(())
    }

    /// Another harness at the same index and time, with a machine made from this one's snapshot.
    ///
    /// # Panics
    ///
    /// The machine cannot read what it wrote.
    pub fn restored(&self) -> Self {
        let mut copy = Self::with_state(M::default());
        copy.moment = self.moment;
        if let Err(error) = copy.restore(&self.snapshot()) {
            panic!("{} cannot read its own snapshot: {error}", M::NAME);
        }
        if let Some(time_ms) = self.wake_at() {
            copy.wake_again_at(time_ms);
        }
        if self.written.is_none() {
            copy.without_refusal_check()
        } else {
            copy
        }
    }

    /// The wake time is the host's to remember: a restored machine is still woken.
    fn wake_again_at(&self, time_ms: u64) {
        self.host.wake_at(time_ms);
    }

    fn next_entry(&mut self) {
        self.moment.index += 1;
        self.host.enter(self.moment.index);
    }

    fn apply_bytes(&mut self, command: &[u8]) -> Outcome {
        let ends = [u32::try_from(command.len()).expect("a command is smaller than 4 GiB")];
        match engine::apply_batch(&mut self.machine, &self.host, self.moment, command, &ends) {
            Ok(engine::Outcomes {
                accepted,
                data: body,
                ..
            }) => {
                let accepted = accepted == [true];
                self.check_refusal(!accepted);
                Outcome { accepted, body }
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Compares the state with that before the command, if it was refused, and keeps it for the next one.
    fn check_refusal(&mut self, refused: bool) {
        let Some(before) = &self.written else { return };
        let after = written(&self.machine);
        assert!(
            !refused || *before == after,
            "the command of entry {} was refused and changed the state of {}; a refused command changes nothing: \
             decide first, change after",
            self.moment.index,
            M::NAME
        );
        self.written = Some(after);
    }
}

fn written<M: Guest>(machine: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = snapshot::write(machine, &mut |chunk| bytes.extend_from_slice(chunk)) {
        panic!("{}: {error}", M::NAME);
    }
    bytes
}

fn read<M: Guest>(snapshot: &[u8]) -> Result<M, RestoreError> {
    let mut rest = snapshot;
    snapshot::read(0, &mut |most| {
        let (chunk, later) = rest.split_at(rest.len().min(most as usize));
        rest = later;
        chunk.to_vec()
    })
}

#[cfg(test)]
mod tests;
