//! Several replicas of one state machine that apply the same entries, as the nodes of a cluster do.

use super::harness::{Harness, TestOutcome};
use super::recorder::TestReply;
use crate::caller::Caller;
use crate::context::Event;
use crate::guest::Guest;
use crate::snapshot::{GuestPair, RestoreError, own_identity};

/// A cluster in memory: replicas of one state machine that apply the same entries and must not diverge.
///
/// | replica | stands for a node that |
/// |---|---|
/// | live | never stops |
/// | restored | is restored from its own snapshot after each entry |
/// | migrated | was restored from the restored replica at the [`upgrade`](Self::upgrade); exists only after one |
///
/// After each entry it compares replies, late replies to deferred commands, events, wake time, the [hash](Self::hash) over
/// all of them since the start, and the snapshots byte for byte. A difference after a restore has two common causes: state that is not in the snapshot (a
/// `#[serde(skip)]` field, a static), or an iteration order that does not depend on the state (a `HashMap` with a random
/// seed).
///
/// ```
/// # use oarlock_guest::{Apply, MigrateError, OldState, Read, Refusal, StateMachine, state_machine};
/// # #[derive(serde::Deserialize)]
/// # #[serde(rename_all = "snake_case")]
/// # pub enum Command { Ring {} }
/// # mod v1 {
/// #     use super::*;
/// #     #[derive(Default, serde::Serialize, serde::Deserialize)]
/// #     pub struct Bell { pub rung: u32 }
/// #     #[state_machine(name = "bell", version = 1)]
/// #     impl StateMachine for Bell {
/// #         type Command = Command; type Reply = u32; type Query = (); type Response = u32; type Refusal = Refusal;
/// #         fn apply(&mut self, _: &mut Apply<'_>, _: Command) -> Result<u32, Refusal> { self.rung += 1; Ok(self.rung) }
/// #         fn query(&self, _: &Read<'_>, _: ()) -> Result<u32, Refusal> { Ok(self.rung) }
/// #     }
/// # }
/// # mod v2 {
/// #     use super::*;
/// #     #[derive(Default, serde::Serialize, serde::Deserialize)]
/// #     pub struct Bell { pub rung: u64, pub last_ms: u64 }
/// #     #[state_machine(name = "bell", version = 2)]
/// #     impl StateMachine for Bell {
/// #         type Command = Command; type Reply = u64; type Query = (); type Response = u64; type Refusal = Refusal;
/// #         fn apply(&mut self, cx: &mut Apply<'_>, _: Command) -> Result<u64, Refusal> {
/// #             self.rung += 1;
/// #             self.last_ms = cx.time_ms();
/// #             Ok(self.rung)
/// #         }
/// #         fn query(&self, _: &Read<'_>, _: ()) -> Result<u64, Refusal> { Ok(self.rung) }
/// #         fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
/// #             let old: v1::Bell = old.decode()?;
/// #             Ok(Self { rung: old.rung.into(), last_ms: 0 })
/// #         }
/// #     }
/// # }
/// use oarlock_guest::testing::TestCluster;
///
/// # fn main() {
/// let mut cluster = TestCluster::<v1::Bell>::new();
/// cluster.send(r#"{"ring":{}}"#);
/// // The next version reads the state of the one before, as in `oarlock upgrade`.
/// let mut cluster = cluster.upgrade::<v2::Bell>().expect("version 2 has a migrate");
/// assert_eq!(cluster.send(r#"{"ring":{}}"#).text(), "2");
/// // Going back is refused: the old version cannot read the new state.
/// assert!(cluster.upgrade::<v1::Bell>().is_err());
/// # }
/// ```
pub struct TestCluster<M: Guest> {
    nodes: Vec<TestNode<M>>,
    events: Vec<Event>,
    replies: Vec<TestReply>,
}

/// What one replica did in an entry.
#[derive(Debug, Default, PartialEq, Eq)]
struct EntryResult {
    outcomes: Vec<TestOutcome>,
    events: Vec<Event>,
    replies: Vec<TestReply>,
    wake_at: Option<u64>,
}

/// One replica.
struct TestNode<M: Guest> {
    name: &'static str,
    harness: Harness<M>,
    /// It is restored from its own snapshot after each entry.
    restarts: bool,
    hash: RunHash,
}

impl<M: Guest> Default for TestCluster<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Guest> TestCluster<M> {
    /// Replicas without any command.
    pub fn new() -> Self {
        let node = |name, restarts, harness| TestNode {
            name,
            harness,
            restarts,
            hash: RunHash::default(),
        };
        Self {
            nodes: vec![
                node("live", false, Harness::new()),
                node("restored", true, Harness::new().restored()),
            ],
            events: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Advances the clock of all replicas, and wakes them each time that something falls due, in its own entry.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send) and [`Harness::advance_ms`].
    pub fn advance_ms(&mut self, by_ms: u64) -> &mut Self {
        let end_ms = self.live().time_ms() + by_ms;
        while self.live().is_woken_by(end_ms) {
            self.advance_to_wake();
        }
        self.skip_ms(end_ms - self.live().time_ms())
    }

    /// Advances the clock to the next wake-up, if there is one, and wakes all replicas. Returns whether there was one.
    ///
    /// # Panics
    ///
    /// As [`advance_ms`](Self::advance_ms).
    pub fn advance_to_wake(&mut self) -> bool {
        let is_woken = self.live().wake_at().is_some();
        if is_woken {
            self.entry("the wake-up", |harness| {
                harness.advance_to_wake();
                Vec::new()
            });
        }
        is_woken
    }

    /// Advances the clock and wakes nothing, like [`Harness::skip_ms`].
    pub fn skip_ms(&mut self, by_ms: u64) -> &mut Self {
        for node in &mut self.nodes {
            node.harness.skip_ms(by_ms);
        }
        self
    }

    /// Sets who sends all commands and queries from now on, like [`Harness::set_caller`].
    pub fn set_caller(&mut self, caller: Option<&Caller>) -> &mut Self {
        for node in &mut self.nodes {
            node.harness.set_caller(caller.cloned());
        }
        self
    }

    /// Applies an encoded command, as a client sends it, in its own entry.
    ///
    /// # Panics
    ///
    /// Two replicas differ; the message names the entry and shows both sides. Or a refused command changed the state.
    pub fn send(&mut self, command: impl AsRef<[u8]>) -> TestOutcome {
        let command = command.as_ref();
        let shown = String::from_utf8_lossy(command).into_owned();
        let mut outcomes = self.entry(&shown, |harness| vec![harness.send(command)]);
        outcomes.remove(0)
    }

    /// Applies several commands in one entry.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_batch(&mut self, commands: &[impl AsRef<[u8]>]) -> Vec<TestOutcome> {
        let shown = format!("{} commands", commands.len());
        self.entry(&shown, |harness| harness.send_batch(commands))
    }

    /// Calls [`StateMachine::on_wake`](crate::StateMachine::on_wake) in its own entry.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn wake(&mut self) {
        self.entry("the wake-up", |harness| {
            harness.wake();
            Vec::new()
        });
    }

    /// The replica that never stops, for queries.
    pub fn live(&self) -> &Harness<M> {
        &self.nodes[0].harness
    }

    /// The events of accepted commands since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The replies to deferred commands since the last call.
    pub fn take_replies(&mut self) -> Vec<TestReply> {
        std::mem::take(&mut self.replies)
    }

    /// Hash over all entries so far: index, time, replies, events, late replies, wake time. Equal commands at equal times give equal
    /// hashes, so a test may pin one. It is not the `state_hash` of a node, which covers more.
    pub fn hash(&self) -> u64 {
        self.nodes[0].hash.0
    }

    /// Upgrades all replicas to the version `N`, which reads their states, as `oarlock upgrade` does. Adds the replica `migrated`, made from the
    /// snapshot of the restored one. All of them must reach the same state.
    ///
    /// # Errors
    ///
    /// `N` has another name, or it refuses the state. In a cluster the old version then keeps running.
    ///
    /// # Panics
    ///
    /// The replicas of `N` differ: its `migrate` depends on more than the state.
    pub fn upgrade<N: Guest>(self) -> Result<TestCluster<N>, RestoreError> {
        let (written_by, read_by) = (own_identity::<M>(), own_identity::<N>());
        if written_by.has_another_name_than(&read_by) {
            return Err(RestoreError::OtherGuest(Box::new(GuestPair {
                written_by,
                read_by,
            })));
        }
        self.replace_machine()
    }

    /// Upgrades all replicas to the guest `N`, which may have another name, as `oarlock upgrade --replace-machine` does.
    /// `N` reads the state if its layout is the same. Otherwise `migrate` reads it.
    ///
    /// # Errors
    ///
    /// `N` refuses the state. In a cluster the old guest then keeps running.
    ///
    /// # Panics
    ///
    /// As [`upgrade`](Self::upgrade).
    pub fn replace_machine<N: Guest>(self) -> Result<TestCluster<N>, RestoreError> {
        let migrated = self.nodes.get(2).unwrap_or(&self.nodes[1]);
        let migrated = migrated.upgrade("migrated", false)?;
        let [live, restored] = [&self.nodes[0], &self.nodes[1]];
        let mut next = TestCluster {
            nodes: vec![
                live.upgrade(live.name, live.restarts)?,
                restored.upgrade(restored.name, restored.restarts)?,
                migrated,
            ],
            events: self.events,
            replies: self.replies,
        };
        next.compare_states("the upgrade");
        Ok(next)
    }

    fn entry(
        &mut self,
        shown: &str,
        mut apply: impl FnMut(&mut Harness<M>) -> Vec<TestOutcome>,
    ) -> Vec<TestOutcome> {
        let mut first: Option<EntryResult> = None;
        for node in &mut self.nodes {
            let outcomes = apply(&mut node.harness);
            let found = EntryResult {
                outcomes,
                events: node.harness.take_events(),
                replies: node.harness.take_replies(),
                wake_at: node.harness.wake_at(),
            };
            node.hash.entry(&node.harness, &found);
            let Some(first) = &first else {
                first = Some(found);
                continue;
            };
            let (name, index) = (node.name, node.harness.index());
            let differs = |what| format!("live and {name} {what} at entry {index}: {shown}");
            assert_eq!(
                first.outcomes,
                found.outcomes,
                "{}",
                differs("reply differently")
            );
            assert_eq!(
                first.events,
                found.events,
                "{}",
                differs("emit differently")
            );
            assert_eq!(
                first.replies,
                found.replies,
                "{}",
                differs("complete differently")
            );
            assert_eq!(
                first.wake_at,
                found.wake_at,
                "{}",
                differs("set different wake times")
            );
        }
        self.compare_states(shown);
        let first = first.unwrap_or_default();
        self.events.extend(first.events);
        self.replies.extend(first.replies);
        first.outcomes
    }

    fn compare_states(&mut self, shown: &str) {
        let (state, hash) = (self.live().snapshot(), self.hash());
        for node in &mut self.nodes {
            let (name, index) = (node.name, node.harness.index());
            assert!(
                node.harness.snapshot() == state,
                "live and {name} write different snapshots after entry {index}: {shown}"
            );
            assert_eq!(
                node.hash.0, hash,
                "live and {name} have different hashes after entry {index}: {shown}"
            );
            if node.restarts {
                node.harness = node.harness.restored();
                assert!(
                    node.harness.snapshot() == state,
                    "a restored state writes a different snapshot after entry {index}: {shown}"
                );
            }
        }
    }
}

impl<M: Guest> TestNode<M> {
    fn upgrade<N: Guest>(
        &self,
        name: &'static str,
        restarts: bool,
    ) -> Result<TestNode<N>, RestoreError> {
        let mut harness = Harness::<N>::new();
        harness.set_position(&self.harness);
        harness.restore(&self.harness.snapshot())?;
        if let Some(time_ms) = self.harness.wake_at() {
            harness.set_wake_time(time_ms);
        }
        Ok(TestNode {
            name,
            harness,
            restarts,
            hash: self.hash,
        })
    }
}

/// Hash over a run: FNV-1a (Fowler, Noll, Vo), 64 bits.
#[derive(Clone, Copy)]
struct RunHash(u64);

impl Default for RunHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl RunHash {
    fn entry<M: Guest>(&mut self, harness: &Harness<M>, result: &EntryResult) {
        let wake_at = result.wake_at.unwrap_or(0);
        for number in [harness.index(), harness.time_ms(), wake_at] {
            self.add(&number.to_le_bytes());
        }
        for outcome in &result.outcomes {
            self.add(&[u8::from(outcome.accepted)]);
            if let Some(token) = outcome.deferred {
                self.add(&token.get().to_le_bytes());
            }
            self.sized(&outcome.body);
        }
        for event in &result.events {
            self.sized(event.topic.as_bytes());
            self.sized(&event.payload);
        }
        for reply in &result.replies {
            self.add(&reply.token.get().to_le_bytes());
            self.add(&[u8::from(reply.accepted)]);
            self.sized(&reply.body);
        }
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.add(&(bytes.len() as u64).to_le_bytes());
        self.add(bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests;
