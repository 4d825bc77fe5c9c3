//! Several copies of one machine that get the same entries, as the nodes of a cluster do.

use super::{Event, Harness, Outcome};
use crate::machine::Guest;
use crate::snapshot::RestoreError;

/// A cluster in memory: copies of one machine that get the same entries and have to stay the same.
///
/// | copy | is like the node that |
/// |---|---|
/// | live | never stops |
/// | restored | is written and read again after each entry |
/// | migrated | was there before an [`upgrade`](Self::upgrade), from when on there is this copy |
///
/// After each entry it compares replies, events and wake time, the [hash](Self::hash) over all of them since the
/// beginning, and the snapshots byte for byte. What differs after a restore is state that is not in the snapshot (a
/// `#[serde(skip)]` field, a static), or an order that is not that of the state (a `HashMap` with a random seed).
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
/// #         type Command = Command; type Reply = u32; type Query = (); type Answer = u32; type Refusal = Refusal;
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
/// #         type Command = Command; type Reply = u64; type Query = (); type Answer = u64; type Refusal = Refusal;
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
/// // And there is no way back: the old version does not know the new state.
/// assert!(cluster.upgrade::<v1::Bell>().is_err());
/// # }
/// ```
pub struct TestCluster<M: Guest> {
    copies: Vec<Copy<M>>,
    events: Vec<Event>,
}

struct Copy<M: Guest> {
    name: &'static str,
    node: Harness<M>,
    /// It is written and read again after each entry.
    restarts: bool,
    hash: Chain,
}

impl<M: Guest> Default for TestCluster<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Guest> TestCluster<M> {
    /// Copies that have seen nothing.
    pub fn new() -> Self {
        let copy = |name, restarts, node| Copy {
            name,
            node,
            restarts,
            hash: Chain::default(),
        };
        Self {
            copies: vec![
                copy("live", false, Harness::new()),
                copy("restored", true, Harness::new().restored()),
            ],
            events: Vec::new(),
        }
    }

    /// Moves the clock on, on all of them.
    pub fn advance_ms(&mut self, by_ms: u64) -> &mut Self {
        for copy in &mut self.copies {
            copy.node.advance_ms(by_ms);
        }
        self
    }

    /// Applies a command as a client sends it, as an entry of its own.
    ///
    /// # Panics
    ///
    /// Two copies differ; the message names the entry and shows both sides. Or a refused command changed the state.
    pub fn send(&mut self, command: impl AsRef<[u8]>) -> Outcome {
        let command = command.as_ref();
        let shown = String::from_utf8_lossy(command).into_owned();
        let mut outcomes = self.entry(&shown, |node| vec![node.send(command)]);
        outcomes.remove(0)
    }

    /// Applies several commands as one entry.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn send_batch(&mut self, commands: &[impl AsRef<[u8]>]) -> Vec<Outcome> {
        let shown = format!("{} commands", commands.len());
        self.entry(&shown, |node| node.send_batch(commands))
    }

    /// Calls [`StateMachine::on_wake`](crate::StateMachine::on_wake) as an entry of its own.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub fn wake(&mut self) {
        self.entry("the wake-up", |node| {
            node.wake();
            Vec::new()
        });
    }

    /// The copy that never stops, to ask it.
    pub fn live(&self) -> &Harness<M> {
        &self.copies[0].node
    }

    /// The events of accepted commands since this was last called.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The hash over all entries so far: index, time, replies, events, wake time. Equal commands at equal times give
    /// equal hashes, so a test may hold on to one. It is not the `state_hash` of a node, which covers more.
    pub fn hash(&self) -> u64 {
        self.copies[0].hash.0
    }

    /// Has the version `N` take over, which reads the state of this one. From now on there is a copy that is made of what
    /// a restored node had written, and all of them have to come to the same state.
    ///
    /// # Errors
    ///
    /// `N` refuses the state. In a cluster the old version then goes on.
    ///
    /// # Panics
    ///
    /// The copies of `N` differ: its `migrate` is no function of the state alone.
    pub fn upgrade<N: Guest>(self) -> Result<TestCluster<N>, RestoreError> {
        let migrated = self.copies.get(2).unwrap_or(&self.copies[1]);
        let migrated = migrated.upgrade("migrated", false)?;
        let [live, restored] = [&self.copies[0], &self.copies[1]];
        let mut next = TestCluster {
            copies: vec![
                live.upgrade(live.name, live.restarts)?,
                restored.upgrade(restored.name, restored.restarts)?,
                migrated,
            ],
            events: self.events,
        };
        next.compare_states("the upgrade");
        Ok(next)
    }

    fn entry(
        &mut self,
        shown: &str,
        mut apply: impl FnMut(&mut Harness<M>) -> Vec<Outcome>,
    ) -> Vec<Outcome> {
        let mut first: Option<(Vec<Outcome>, Vec<Event>, Option<u64>)> = None;
        for copy in &mut self.copies {
            let outcomes = apply(&mut copy.node);
            let found = (outcomes, copy.node.take_events(), copy.node.wake_at());
            copy.hash.entry(&copy.node, &found.0, &found.1);
            let Some(first) = &first else {
                first = Some(found);
                continue;
            };
            let (name, index) = (copy.name, copy.node.index());
            let differs = |what| format!("live and {name} {what} at entry {index}: {shown}");
            assert_eq!(first.0, found.0, "{}", differs("answer differently"));
            assert_eq!(first.1, found.1, "{}", differs("emit differently"));
            assert_eq!(
                first.2,
                found.2,
                "{}",
                differs("want to be woken differently")
            );
        }
        self.compare_states(shown);
        let (outcomes, events, _) = first.unwrap_or_default();
        self.events.extend(events);
        outcomes
    }

    fn compare_states(&mut self, shown: &str) {
        let (state, hash) = (self.live().snapshot(), self.hash());
        for copy in &mut self.copies {
            let (name, index) = (copy.name, copy.node.index());
            assert!(
                copy.node.snapshot() == state,
                "live and {name} write different snapshots after entry {index}: {shown}"
            );
            assert_eq!(
                copy.hash.0, hash,
                "live and {name} have different hashes after entry {index}: {shown}"
            );
            if copy.restarts {
                copy.node = copy.node.restored();
                assert!(
                    copy.node.snapshot() == state,
                    "reading a snapshot and writing it again gives other bytes after entry {index}: {shown}"
                );
            }
        }
    }
}

impl<M: Guest> Copy<M> {
    fn upgrade<N: Guest>(
        &self,
        name: &'static str,
        restarts: bool,
    ) -> Result<Copy<N>, RestoreError> {
        let mut node = Harness::<N>::new();
        node.moment = self.node.moment;
        node.restore(&self.node.snapshot())?;
        if let Some(time_ms) = self.node.wake_at() {
            node.wake_again_at(time_ms);
        }
        Ok(Copy {
            name,
            node,
            restarts,
            hash: self.hash,
        })
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
#[derive(Clone, Copy)]
struct Chain(u64);

impl Default for Chain {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Chain {
    fn entry<M: Guest>(&mut self, node: &Harness<M>, outcomes: &[Outcome], events: &[Event]) {
        for number in [node.index(), node.time_ms(), node.wake_at().unwrap_or(0)] {
            self.add(&number.to_le_bytes());
        }
        for outcome in outcomes {
            self.add(&[u8::from(outcome.accepted)]);
            self.sized(&outcome.body);
        }
        for event in events {
            self.sized(event.topic.as_bytes());
            self.sized(&event.payload);
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
