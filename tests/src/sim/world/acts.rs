//! What operators do to the guest during the storm: they upgrade it, change settings, and accept a state where no majority
//! agrees. And what happens besides: the memory of a guest becomes corrupt, and nodes of another cluster call.

use std::time::Duration;

use oarlock_wasm::{
    CommandOutcome, Envelope, ReplicatedSettings, SettingsChange, StateAcceptance, UpgradeBegin,
    UpgradeOutcome, UpgradeRecord, UpgradeRefusal,
};
use task_queue_raft::ids::{Index, NodeId};

use super::host::Proposer;
use super::{Event, World};
use crate::sim::machine::{COMMAND_BYTES, Told, Upgrade, alarm_command};
use crate::sim::planted::Planted;

/// Most bytes of a module in one entry.
const CHUNK_BYTES: usize = 64 << 10;
/// How long voters may take, in milliseconds of replicated time.
const WAIT_MS: u64 = 4000;
/// Pause before an operator tries again.
const PAUSE: Duration = Duration::from_millis(150);

/// The longest time of an alarm, in milliseconds of replicated time. It rings before a run ends.
const LONGEST_ALARM_MS: u64 = 3000;

/// Most guests that become corrupt one by one before the cluster has come to one state.
const MAX_CORRUPT: u32 = 2;

/// Something that an operator does, or that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Upgrade,
    Settings,
    Corrupt,
    ForeignNode,
    Alarm,
}

/// An operator who upgrades the guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrading {
    module: Upgrade,
    /// The entry that began it, once it is known.
    begun: Option<Index>,
    /// Bytes that the log has.
    offset: usize,
}

impl World {
    /// The next thing is done, or one that was begun goes on.
    pub(super) fn act(&mut self) {
        let pause = self.act_rng.millis(60, 700);
        self.schedule(pause, Event::Act);
        self.accept_a_state();
        if self.calm || self.lull {
            return;
        }
        let dimensions = self.profile.dimensions;
        let mut acts = Vec::new();
        if dimensions.upgrades {
            acts.push(Act::Upgrade);
        }
        if dimensions.settings {
            acts.push(Act::Settings);
        }
        if dimensions.corruption {
            acts.push(Act::Corrupt);
        }
        if dimensions.foreign_nodes {
            acts.push(Act::ForeignNode);
        }
        if dimensions.alarms {
            acts.push(Act::Alarm);
        }
        if acts.is_empty() {
            return;
        }
        match self.act_rng.pick(&acts) {
            Act::Upgrade if self.upgrading.is_none() => {
                let module = self.act_rng.pick(&[
                    Upgrade::Next,
                    Upgrade::Next,
                    Upgrade::Clockwork,
                    Upgrade::Counter,
                ]);
                self.upgrading = Some(Upgrading {
                    module,
                    begun: None,
                    offset: 0,
                });
                self.upgrade();
            }
            Act::Upgrade => {}
            Act::Settings => self.change_settings(),
            Act::Corrupt => self.corrupt(),
            Act::ForeignNode => self.foreign_node(),
            Act::Alarm => self.set_alarm(),
        }
    }

    pub(super) fn any_live(&mut self) -> Option<usize> {
        let members = self.members();
        let live: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].live.is_some())
            .filter(|node| !self.calm || members.contains(node))
            .collect();
        (!live.is_empty()).then(|| self.act_rng.pick(&live))
    }

    /// A client of the guest sets an alarm, at any node.
    fn set_alarm(&mut self) {
        let Some(node) = self.any_live() else { return };
        let delay_ms = self.act_rng.between(1, LONGEST_ALARM_MS);
        self.coverage.alarms += 1;
        let data = alarm_command(self.coverage.alarms, delay_ms);
        self.propose_at(node, data, Proposer::Ignored);
    }

    // ----- upgrades -----

    /// Proposes the next record of an upgrade, at any node.
    pub(super) fn upgrade(&mut self) {
        let Some(upgrading) = self.upgrading else {
            return;
        };
        let Some(node) = self.any_live() else {
            return self.schedule(PAUSE, Event::Upgrade);
        };
        let module = upgrading.module.bytes();
        let record = match upgrading.begun {
            None => UpgradeRecord::Begin(UpgradeBegin {
                sha256: upgrading.module.sha256(),
                bytes: module.len() as u64,
                wait_ms: WAIT_MS,
                dry_run: false,
                by: "operator".to_owned(),
            }),
            Some(upgrade) => {
                let end = module.len().min(upgrading.offset + CHUNK_BYTES);
                UpgradeRecord::Chunk {
                    upgrade,
                    offset: upgrading.offset as u64,
                    bytes: module.slice(upgrading.offset.min(end)..end),
                }
            }
        };
        self.propose_at(node, Envelope::upgrade(&record), Proposer::Upgrading);
    }

    /// The record has an outcome, or none is known.
    pub(super) fn go_on_upgrading(&mut self, outcome: Option<(Index, Told)>) {
        let Some(upgrading) = &mut self.upgrading else {
            return;
        };
        let length = upgrading.module.bytes().len();
        let outcome = match outcome {
            Some((index, Told::Record(outcome))) => match *outcome {
                CommandOutcome::Upgrade(outcome) => Some((index, outcome)),
                _ => None,
            },
            _ => None,
        };
        match outcome {
            None => return self.schedule(PAUSE, Event::Upgrade),
            Some((index, UpgradeOutcome::Begun)) => upgrading.begun = Some(index),
            Some((_, UpgradeOutcome::ChunkAdded)) => {
                upgrading.offset = length.min(upgrading.offset + CHUNK_BYTES);
            }
            Some((_, UpgradeOutcome::Refused(UpgradeRefusal::Offset { expected }))) => {
                upgrading.offset = usize::try_from(expected).unwrap_or(length);
            }
            Some((_, UpgradeOutcome::Refused(UpgradeRefusal::InProgress { upgrade, sha256 })))
                if sha256 == upgrading.module.sha256() =>
            {
                upgrading.begun = Some(upgrade);
            }
            // The module is complete, or active, or another operator was first; or the upgrade has ended.
            Some(_) => {
                self.upgrading = None;
                return;
            }
        }
        if upgrading.begun.is_some() && upgrading.offset >= length {
            self.upgrading = None;
            return;
        }
        self.upgrade();
    }

    // ----- settings -----

    fn change_settings(&mut self) {
        let Some(node) = self.any_live() else { return };
        let command_bytes = self.act_rng.pick(&[100, 300, 1 << 20]);
        let fuel = self.act_rng.pick(&[1_000_000_000, 2_000_000_000]);
        let change = SettingsChange {
            release: ReplicatedSettings::release().to_owned(),
            by: "operator".to_owned(),
            values: [
                (COMMAND_BYTES.to_owned(), command_bytes),
                ("fuel_per_command".to_owned(), fuel),
            ]
            .into(),
        };
        // At level 0 no log may contain such a record.
        let level = self.nodes[node]
            .core()
            .map_or(0, |core| core.cluster().level);
        if level > 0 {
            self.coverage.settings += 1;
            self.propose_at(node, Envelope::settings(&change), Proposer::Ignored);
        }
    }

    // ----- corruption and audits -----

    /// A bit flips in the memory of a guest, or in the memory of so many voters' guests at once that no majority agrees. Each time the
    /// cluster must come to one state first. Not at level 0, where no log may contain that an operator accepts a state: the
    /// cluster would refuse commands for ever.
    fn corrupt(&mut self) {
        let led = self.leader().and_then(|leader| self.nodes[leader].core());
        let leveled = led.is_some_and(|core| core.cluster().level > 0);
        if self.now < Duration::from_secs(1) || !leveled {
            return;
        }
        if self.corruptions > 0 && self.is_one_state() {
            self.corruptions = 0;
        }
        if self.corruptions >= MAX_CORRUPT {
            return;
        }
        let many = self.act_rng.chance(match self.planted {
            Some(Planted::WritesNotStopped) => 900,
            // A right majority remains, which must find the others.
            Some(Planted::ReportsLie) => 0,
            _ => 500,
        });
        if many
            && self.corruptions == 0
            && let Some(nodes) = self.too_many()
        {
            for node in &nodes {
                self.corrupt_node(*node);
            }
            if self.act_rng.chance(900) {
                self.pause_another(&nodes);
            }
            return;
        }
        let Some(node) = self.any_live() else { return };
        if self.members().contains(&node) {
            self.corrupt_node(node);
        }
    }

    /// Whether all that was corrupt has been found and replaced, and all nodes serve.
    fn is_one_state(&self) -> bool {
        !self.lever.is_pending()
            && self.nodes.iter().all(|node| {
                let host = node.live.as_ref().and_then(|live| live.host.as_ref());
                let serves = host.is_some_and(|host| {
                    !host.verdict.is_quarantined() && !host.verdict.are_writes_stopped()
                });
                serves && !self.invariants.is_wrong(node.index)
            })
    }

    /// So many voters that the others are no majority, if they run.
    fn too_many(&mut self) -> Option<Vec<usize>> {
        let led = self.nodes[self.leader()?].core()?;
        let voters: Vec<_> = led.membership().voters().cloned().collect();
        let mut running: Vec<usize> = (0..self.nodes.len())
            .filter(|node| self.nodes[*node].live.is_some() && voters.contains(&self.ids[*node]))
            .collect();
        let most = voters.len().div_ceil(2);
        while running.len() > most {
            running.swap_remove(self.act_rng.place(running.len()));
        }
        (voters.len() > 1 && running.len() == most).then_some(running)
    }

    /// A node that is not one of these stands still for so long that the others stop waiting for its report.
    fn pause_another(&mut self, corrupt: &[usize]) {
        let others: Vec<usize> = (0..self.nodes.len())
            .filter(|node| !corrupt.contains(node))
            .collect();
        if others.is_empty() {
            return;
        }
        let node = self.act_rng.pick(&others);
        self.nodes[node].paused_until = self.now + self.act_rng.millis(6000, 8000);
        self.coverage.pauses += 1;
    }

    fn corrupt_node(&mut self, node: usize) {
        self.corruptions += 1;
        self.lever.corrupt(node);
        self.invariants.on_corrupted(node);
        self.coverage.corruptions += 1;
        self.trace.note(self.now, node, 23, || {
            "a bit flips in the memory of its guest".to_owned()
        });
    }

    /// Where commands are refused because no majority agrees, an operator accepts the state of a voter that is right. If there is
    /// none any more, it is one of those that there are. So it is where the others had found that a voter differs, and were removed.
    fn accept_a_state(&mut self) {
        let members = self.members();
        let led = self.leader().and_then(|leader| self.nodes[leader].core());
        let voters: Vec<NodeId> =
            led.map_or_else(Vec::new, |led| led.membership().voters().cloned().collect());
        let members: Vec<usize> = members
            .into_iter()
            .filter(|node| voters.contains(&self.ids[*node]))
            .collect();
        let stopped = |node: &super::node::Node| {
            let host = node.live.as_ref().and_then(|live| live.host.as_ref());
            let alone = members == [node.index];
            members.contains(&node.index)
                && host.is_some_and(|host| {
                    let verdict = &host.verdict;
                    verdict.are_writes_stopped() || alone && verdict.is_quarantined()
                })
        };
        if !self.nodes.iter().any(stopped) || !self.act_rng.chance(300) && !self.calm {
            return;
        }
        let all_wrong = members.iter().all(|node| self.invariants.is_wrong(*node));
        let mut nodes = members.iter().map(|node| &self.nodes[*node]);
        let right = nodes.find_map(|node| {
            let live = node.live.as_ref()?;
            let audit = live.applier.machine().guest()?.status().audit();
            let requested_at = audit.requested_at?;
            let hash = if all_wrong && self.calm {
                *audit.reports.values().next()?
            } else {
                self.invariants.right_hash(requested_at)?
            };
            let mut reports = audit.reports.iter();
            let reported = reports.any(|(node, report)| {
                *report == hash && voters.iter().any(|voter| voter.as_str() == node)
            });
            let leveled = live.driver.core().cluster().level > 0;
            let accepted = audit.accepted.or(audit.accepted_earlier());
            let accepts = leveled && reported && accepted.is_none();
            accepts.then_some((node.index, requested_at, hash))
        });
        let Some((node, requested_at, hash)) = right else {
            return;
        };
        let acceptance = StateAcceptance {
            requested_at,
            hash,
            by: "operator".to_owned(),
        };
        self.coverage.acceptances += 1;
        self.propose_at(node, Envelope::accept(&acceptance), Proposer::Ignored);
    }
}
