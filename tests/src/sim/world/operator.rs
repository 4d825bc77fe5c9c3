//! An operator who changes the members and transfers leadership during the storm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use task_queue_raft::driver::Input;
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::message::{AdminError, AdminRequest};
use task_queue_raft::raft::membership::change::{Change, MemberSpec};
use task_queue_raft::raft::reinstall::Reinstall;
use task_queue_raft::raft::{Core, Role};

use super::{Event, World};
use crate::sim::violation::Violation;

/// Admin requests without an outcome, and the node that received each.
#[derive(Debug, Default)]
pub(super) struct Operator {
    next: u64,
    open: BTreeMap<u64, (usize, AdminRequest)>,
    /// The spare node that replaces a corrupt node.
    instead: BTreeMap<usize, usize>,
    /// Corrupt nodes that were removed.
    replaced: BTreeSet<usize>,
}

impl Operator {
    pub(super) fn open(&self) -> impl Iterator<Item = (&u64, &(usize, AdminRequest))> {
        self.open.iter()
    }

    /// Whether a node was corrupt and has been removed.
    pub(super) fn has_replaced(&self, node: usize) -> bool {
        self.replaced.contains(&node)
    }

    /// Whether a spare node replaces a member.
    pub(super) fn has_used(&self, spare: usize) -> bool {
        self.instead.values().any(|used| *used == spare)
    }

    /// The node has crashed, so the connection to it is lost.
    pub(super) fn lose(&mut self, node: usize) {
        self.open.retain(|_, (at, _)| *at != node);
    }
}

impl World {
    pub(super) fn order_change(&mut self) {
        let count = self.nodes.len();
        let (some, other) = (self.fault_rng.place(count), self.fault_rng.place(count));
        let (id, new) = (self.ids[some].clone(), self.ids[other].clone());
        let (address, new_address) = (address_of(&id), address_of(&new));
        let change = match self.fault_rng.below(8) {
            0 => Change::AddLearner { id, address },
            1 | 2 => Change::AddVoter { id, address },
            3 => Change::Promote { id },
            4 | 5 => Change::Remove { id },
            6 => Change::Replace {
                old: id,
                new,
                address: new_address,
            },
            _ => Change::Set(self.draw_members()),
        };
        self.order(AdminRequest::Change(change));
    }

    /// Any members but no voters at all: a cluster keeps one.
    fn draw_members(&mut self) -> BTreeMap<NodeId, MemberSpec> {
        let mut seats = BTreeMap::new();
        for id in &self.ids {
            if self.fault_rng.chance(700) {
                let voter = self.fault_rng.chance(800);
                let address = address_of(id);
                seats.insert(id.clone(), MemberSpec { address, voter });
            }
        }
        seats
    }

    /// The operator replaces a corrupt node, and retries until that is done.
    pub(super) fn replace(&mut self, old: usize) {
        let spare = (self.founders..self.nodes.len()).find(|spare| !self.operator.has_used(*spare));
        let chosen = self.operator.instead.get(&old).copied();
        // A node that was corrupted itself meanwhile never catches up.
        let sound = chosen.filter(|new| !self.nodes[*new].out_of_service);
        let new = sound.or(spare);
        if let Some(new) = new {
            self.operator.instead.insert(old, new);
        } else if chosen.is_none() {
            return;
        }
        if self.is_replaced(old) && !self.may_join(old) {
            self.coverage.replaced += 1;
            self.operator.replaced.insert(old);
            return;
        }
        let old_id = self.ids[old].clone();
        let waits = |(_, order): &(usize, AdminRequest)| match order {
            AdminRequest::Change(Change::Replace { old, .. }) => *old == old_id,
            AdminRequest::Change(Change::Remove { id }) => *id == old_id,
            _ => false,
        };
        if !self.operator.open.values().any(waits) {
            let at = self.whom_to_ask();
            // Without another spare node it is only removed.
            let change = match new.map(|new| self.ids[new].clone()) {
                Some(new) => Change::Replace {
                    address: address_of(&new),
                    old: old_id,
                    new,
                },
                None => Change::Remove { id: old_id },
            };
            self.order_at(at, AdminRequest::Change(change));
        }
        self.schedule(Duration::from_millis(300), Event::Replace { node: old });
    }

    /// Whether an order that has no response yet may still add the node: it was chosen in place of another one.
    fn may_join(&self, node: usize) -> bool {
        let id = &self.ids[node];
        self.operator.open.values().any(|(_, order)| {
            matches!(order, AdminRequest::Change(Change::Replace { new, .. }) if new == id)
        })
    }

    /// Whether the leader has committed a configuration without the node.
    fn is_replaced(&self, old: usize) -> bool {
        let leader = self.leader().and_then(|leader| self.nodes[leader].core());
        leader.is_some_and(|leader| {
            let members = leader.membership();
            !members.contains(&self.ids[old])
                && !members.is_joint()
                && leader.is_membership_committed()
        })
    }

    pub(super) fn order_transfer(&mut self) {
        let to = self.fault_rng.place(self.nodes.len());
        let to = self.fault_rng.chance(500).then(|| self.ids[to].clone());
        self.order(AdminRequest::Transfer(to));
    }

    /// In the storm an operator sends to any node, after it only to members: a spare node forwards no admin request.
    fn whom_to_ask(&mut self) -> usize {
        let members = self.members();
        if self.calm && !members.is_empty() {
            self.fault_rng.pick(&members)
        } else {
            self.fault_rng.place(self.nodes.len())
        }
    }

    /// A node requests a snapshot repeatedly until its machine's state is replaced. It transfers leadership before that. A
    /// crash ends the requests.
    pub(super) fn carry_on_reinstall(
        &mut self,
        node: usize,
        run: u32,
        least: Duration,
    ) -> Result<(), Violation> {
        if self.nodes[node].run != run {
            return Ok(());
        }
        let core = self.nodes[node].core();
        let leads = core.is_some_and(|core| core.role() == Role::Leader);
        let stage = core.and_then(Core::reinstalling);
        // A removed node may not have received its removal.
        let led = core.is_some_and(|core| core.leader().is_some());
        if leads && stage.is_some() && self.calm {
            // No other node could lead, because only this node has some entries: it is restarted and continues.
            return self.crash(node, Duration::from_millis(1));
        }
        if leads && stage.is_some() {
            self.order_at(node, AdminRequest::Transfer(None));
        } else if let Some(Reinstall::Wants(from)) = stage
            && led
        {
            let order = AdminRequest::SendSnapshot(self.ids[node].clone(), from);
            self.order_at(node, order);
        }
        if stage.is_some() || self.now < least {
            let event = Event::Reinstall { node, run, least };
            self.schedule(Duration::from_millis(700), event);
        }
        Ok(())
    }

    pub(super) fn order(&mut self, order: AdminRequest) {
        let node = self.fault_rng.place(self.nodes.len());
        self.order_at(node, order);
    }

    pub(super) fn order_at(&mut self, node: usize, order: AdminRequest) {
        if self.nodes[node].live.is_none() {
            return;
        }
        let number = self.operator.next;
        self.operator.next += 1;
        let end = self.now + self.fault_rng.millis(100, 3000);
        let deadline = self.nodes[node].clock(end);
        self.trace.note(self.now, node, number, || {
            format!("order {number}, until {deadline:?}: {order:?}")
        });
        self.operator.open.insert(number, (node, order.clone()));
        self.put(
            node,
            Input::Admin {
                request: order,
                deadline,
                operator: number,
            },
        );
    }

    pub(super) fn operator_hears(
        &mut self,
        node: usize,
        number: u64,
        outcome: &Result<Index, AdminError>,
    ) -> Result<(), Violation> {
        self.trace.note(self.now, node, number, || {
            format!("order {number} ends: {outcome:?}")
        });
        let done = u64::from(outcome.is_ok());
        match self.operator.open.remove(&number) {
            Some((_, AdminRequest::Change(change))) => {
                self.coverage.changes += done;
                if let Ok(index) = outcome {
                    return self.invariants.on_changed(node, &change, *index);
                }
            }
            Some((_, AdminRequest::Transfer(_))) => self.coverage.transfers += done,
            Some((_, AdminRequest::SendSnapshot(..))) => self.coverage.reinstalls += done,
            Some((_, AdminRequest::RaiseLevel)) => self.coverage.raises += done,
            None => {}
        }
        Ok(())
    }
}

fn address_of(id: &NodeId) -> String {
    format!("{id}.example:7101")
}
