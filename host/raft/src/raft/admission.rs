//! Stores without a state: how a cluster is founded, and how a node whose disk was wiped comes back.
//!
//! A vote and an acknowledgement are promises, and a node keeps them on its disk (Raft paper, Figure 2). A node that
//! returns under its old name with an empty disk has forgotten them: it could vote a second time in a term, vote for
//! somebody who lacks what it had acknowledged, or acknowledge to a leader that it had helped to depose. So each store
//! has a number, drawn when it was made, its *store_id*, and says whether it holds all that its node has promised:
//! its [`StoreState`]. A node whose store does not has no say. It neither votes nor campaigns nor counts, and it gets its
//! say in one of two ways.
//!
//! **A new cluster is founded.** All of its founders have to be there and to say that their stores are empty. One of
//! them, the first by name, gathers that, and makes of it the founding configuration: who the members are, and by
//! which stores they vote. Every founder's log begins with this one entry, 1 of term 0, which no leader has made; it is
//! committed because all have agreed to it. One that was absent when the others took it in gets it from any of them.
//! There is never another one among nodes with a say: a founder takes in only an answer to a question of its own run,
//! and only a founding by the store that it has last answered. That takes all of them, once, and not a majority: two
//! of three that are wiped at once while the third is down look exactly like two new ones.
//!
//! **A member comes back.** It answers whoever leads with its store's number instead of an acknowledgement. The leader
//! forgets what the peer's former store was known to hold, and takes it out of the voters by one entry, as
//! [`MemberRole::Rejoining`]: one server less, so old and new majorities overlap (dissertation §4.1). From then on
//! nothing is committed without a majority of the others, so acknowledgements of the new store do no harm and the
//! leader [welcomes](RejoinGranted) it. Once it has caught up, the leader makes it a voter again by a change of the members,
//! which notes the number of its store. It gets its say as soon as it knows that a configuration is committed in which
//! it votes by that number: no leader that its former self has voted for, and no entry that its former self has
//! acknowledged, can be missing from that log.
//!
//! If more members are gone than a majority can spare, nobody is elected, and nothing is made up: [`Core::voters_without_data`] tells
//! who they are.

use std::collections::BTreeMap;
use std::time::Duration;

use super::durable::StoreState;
use super::membership::{Member, MemberRole, Membership};
use super::progress::Progress;
use super::{Core, Role};
use crate::entry::{Entry, Payload};
use crate::ids::{Index, LogId, NodeId, Term};
use crate::message::{
    BootstrapProbe, BootstrapProbeResponse, BootstrapVerdict, RaftRequest, RaftResponse,
    RejoinGranted, StoreMismatch,
};

/// The place of the founding configuration.
const FOUNDING: LogId = LogId {
    term: Term::ZERO,
    index: Index(1),
};

/// What a node without a say knows of its way to one.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    /// Number of this run.
    run: u64,
    /// The store is a new one, and the node may be a founder.
    newborn: bool,
    /// When the others are asked next.
    ask_at: Duration,
    /// The leader and the term in which acknowledgements count as the log says.
    welcomed: Option<(NodeId, Term)>,
    /// Those who have said that their store is empty, and its number.
    newborns: BTreeMap<NodeId, u64>,
    /// Those who have asked: their stores and runs.
    askers: BTreeMap<NodeId, (u64, u64)>,
    /// The store of the first founder that was last told that this one is empty.
    promised: Option<u64>,
    /// Somebody has said that the cluster is not new, or has other founders.
    verdict: Option<(NodeId, BootstrapVerdict)>,
    /// The store is being told.
    claiming: bool,
    /// This node has made the founding configuration.
    founds: bool,
}

/// Whether a node votes, and if not, what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VotingStatus {
    /// It votes where it is a voter.
    #[default]
    Eligible,
    /// It would found a new cluster, once these have said that their stores are empty.
    Bootstrapping {
        /// Those that have not.
        missing: Vec<NodeId>,
    },
    /// This one was started with other founders.
    BootstrapMismatch {
        /// Which.
        with: NodeId,
    },
    /// The others count it by its store, and it waits only until it knows that this is committed and on its disk.
    AwaitingCommit,
    /// It belongs to no cluster yet, and waits to be added to one.
    Joining,
    /// It was a member with another store, and waits until the others have taken it in again.
    Rejoining,
}

impl Membership {
    /// Number of the store that a member votes by; 0 where that is not known, or the node is no member.
    #[must_use]
    pub fn store_id(&self, id: &NodeId) -> u64 {
        self.members().get(id).map_or(0, |member| member.store_id)
    }

    /// Whether this node votes, by this store.
    #[must_use]
    pub fn votes_by(&self, id: &NodeId, store_id: u64) -> bool {
        self.is_voter(id) && self.store_id(id) == store_id
    }

    /// This settled configuration when a voter has lost its store, and comes back with the one of this number.
    #[must_use]
    pub fn without_store_of(&self, id: &NodeId, store_id: u64) -> Self {
        let mut members = self.members().clone();
        if let Some(member) = members.get_mut(id) {
            member.role = MemberRole::Rejoining;
            member.store_id = store_id;
        }
        Self::new(members)
    }

    /// This settled configuration with all as voters that have come back and for whom `ready` says so.
    fn with_returned(&self, ready: impl Fn(&NodeId) -> bool) -> Self {
        let returned = |(id, member): (&NodeId, &Member)| {
            let mut member = member.clone();
            if member.role == MemberRole::Rejoining && ready(id) {
                member.role = MemberRole::Voter;
            }
            (id.clone(), member)
        };
        Self::new(self.members().iter().map(returned).collect())
    }
}

impl Core {
    // ----- what everyone can see -----

    /// Whether this node votes where it is a voter.
    #[must_use]
    pub fn can_vote(&self) -> bool {
        self.admission.is_none()
    }

    /// Whether this node votes, and if not, what it waits for.
    #[must_use]
    pub fn voting_status(&self) -> VotingStatus {
        let Some(admission) = &self.admission else {
            return VotingStatus::Eligible;
        };
        match &admission.verdict {
            _ if self.is_admitted_soon() || self.votes_by_its_store() => {
                VotingStatus::AwaitingCommit
            }
            _ if self.leader.is_some() || !admission.newborn || !self.knows_nothing() => {
                VotingStatus::Rejoining
            }
            _ if self.config.voters.is_empty() => VotingStatus::Joining,
            Some((_, BootstrapVerdict::NotNew)) => VotingStatus::Rejoining,
            Some((with, BootstrapVerdict::OtherMembers)) => {
                VotingStatus::BootstrapMismatch { with: with.clone() }
            }
            _ => VotingStatus::Bootstrapping {
                missing: self.missing_founders(admission),
            },
        }
    }

    /// Voters that have lost their stores, as far as this node has heard from them, and are not yet taken in again.
    #[must_use]
    pub fn voters_without_data(&self) -> Vec<NodeId> {
        let lost = |(id, store_id): (&NodeId, &u64)| {
            self.membership().is_voter(id) && self.membership().store_id(id) != *store_id
        };
        let heard = self.replaced_stores.iter().filter(|heard| lost(*heard));
        heard.map(|(id, _)| id.clone()).collect()
    }

    /// Number of this node's store.
    #[must_use]
    pub fn store_id(&self) -> u64 {
        self.store_id
    }

    // ----- beginning -----

    /// What a store that has forgotten, or never known, what its node has promised begins with.
    pub(super) fn begin_admission(&mut self, state: StoreState) {
        if state == StoreState::Complete {
            return;
        }
        self.admission = Some(Admission {
            run: self.rng.below(u64::MAX),
            newborn: state == StoreState::New,
            ask_at: self.now,
            welcomed: None,
            newborns: BTreeMap::new(),
            askers: BTreeMap::new(),
            promised: None,
            verdict: None,
            claiming: false,
            founds: false,
        });
        let alone = self.membership().members().keys().eq([&self.config.id]);
        if state == StoreState::New && alone && self.knows_nothing() {
            // Nobody else has to be asked, and nobody else could know better.
            self.claim();
        }
        self.update_eligibility();
    }

    /// Whether the log has never held anything.
    fn knows_nothing(&self) -> bool {
        self.log.last() == LogId::default() && self.membership_index() == Index::ZERO
    }

    fn is_admitted_soon(&self) -> bool {
        let admission = self.admission.as_ref();
        admission.is_some_and(|admission| admission.claiming)
    }

    /// The first founder by name makes the founding configuration.
    fn first_founder(&self) -> Option<&NodeId> {
        self.config.voters.iter().next()
    }

    fn missing_founders(&self, admission: &Admission) -> Vec<NodeId> {
        let founders = self.config.voters.iter();
        let missing =
            founders.filter(|id| **id != self.config.id && !admission.newborns.contains_key(*id));
        missing.cloned().collect()
    }

    /// When the others are asked next whether the cluster is new.
    pub(super) fn next_question(&self) -> Option<Duration> {
        let admission = self.admission.as_ref()?;
        (!admission.claiming).then_some(admission.ask_at)
    }

    /// Asks all other members whether the cluster is new, unless somebody leads: then there is nothing to ask.
    pub(super) fn ask_whether_new(&mut self) {
        let (now, pause) = (self.now, self.config.heartbeat_interval);
        let due = |admission: &&mut Admission| now >= admission.ask_at && !admission.claiming;
        let Some(admission) = self.admission.as_mut().filter(due) else {
            return;
        };
        admission.ask_at = now + pause;
        if self.leader.is_some() {
            return;
        }
        let run = admission.run;
        let question = BootstrapProbe {
            store_id: self.store_id,
            run,
            initial_members: self.config.voters.iter().cloned().collect(),
            members_at: self.members_at(),
        };
        for peer in self.all_others() {
            self.request(&peer, RaftRequest::BootstrapProbe(question.clone()), 0);
        }
    }

    /// The entry that the members are from, where the log still knows it.
    fn members_at(&self) -> LogId {
        let index = self.membership_index();
        let term = self.log.term_at(index).unwrap_or_default();
        LogId::new(term, index)
    }

    fn all_others(&self) -> Vec<NodeId> {
        let members = self.membership().members().keys();
        members
            .filter(|id| **id != self.config.id)
            .cloned()
            .collect()
    }

    // ----- founding -----

    /// A node with an empty store asks whether the cluster is new.
    pub(super) fn on_bootstrap_probe(&mut self, from: &NodeId, question: &BootstrapProbe) {
        if !self.membership().contains(from) {
            return;
        }
        let verdict = self.judge(from, question);
        if verdict == BootstrapVerdict::NotNew {
            self.note_replaced_store(from, question.store_id);
        }
        self.answer_newborn(from, (question.store_id, question.run), verdict);
    }

    fn judge(&mut self, from: &NodeId, question: &BootstrapProbe) -> BootstrapVerdict {
        if let Some(founding) = self.founding_for(from, question.store_id) {
            return BootstrapVerdict::Bootstrapped(founding);
        }
        if self.is_known_to_be_committed(question.members_at) {
            return BootstrapVerdict::Committed(question.members_at);
        }
        let is_first = self.first_founder() == Some(from);
        let same = self.config.voters.iter().eq(&question.initial_members);
        let nothing = self.knows_nothing();
        let Some(admission) = self
            .admission
            .as_mut()
            .filter(|admission| admission.newborn && nothing)
        else {
            return BootstrapVerdict::NotNew;
        };
        if !same {
            return BootstrapVerdict::OtherMembers;
        }
        let asker = (question.store_id, question.run);
        admission.askers.insert(from.clone(), asker);
        if is_first {
            admission.promised = Some(question.store_id);
        }
        BootstrapVerdict::New
    }

    /// Whether this entry about the members is committed, as this node's log shows.
    fn is_known_to_be_committed(&self, id: LogId) -> bool {
        let settled_since = !self.membership().is_joint() && id.index < self.membership_index();
        id.index > Index::ZERO
            && self.can_vote()
            && self.log.holds(id)
            && (id.index <= self.log.committed || settled_since)
    }

    /// The founding configuration, where it is known and names the asker's store.
    fn founding_for(&self, id: &NodeId, store_id: u64) -> Option<Membership> {
        let founding = self.configurations.at(FOUNDING.index)?;
        founding.votes_by(id, store_id).then(|| founding.clone())
    }

    fn answer_newborn(&mut self, to: &NodeId, asker: (u64, u64), verdict: BootstrapVerdict) {
        let run = self.admission.as_ref().map_or(0, |admission| admission.run);
        let answer = BootstrapProbeResponse {
            to_store_id: asker.0,
            to_run: asker.1,
            store_id: self.store_id,
            run,
            verdict,
        };
        // A founding that is handed on is durable here first.
        self.respond(to, RaftResponse::BootstrapProbe(answer));
    }

    /// Somebody says whether the cluster is new.
    pub(super) fn on_bootstrap_response(&mut self, from: &NodeId, answer: BootstrapProbeResponse) {
        let (own, nothing) = (self.store_id, self.knows_nothing());
        let members_at = self.members_at();
        let Some(admission) = self.admission.as_mut().filter(|admission| {
            answer.to_store_id == own && answer.to_run == admission.run && !admission.claiming
        }) else {
            return;
        };
        match answer.verdict {
            BootstrapVerdict::New if nothing && admission.newborn => {
                admission.verdict.take_if(|(by, _)| by == from);
                admission.newborns.insert(from.clone(), answer.store_id);
                let asker = (answer.store_id, answer.run);
                admission.askers.insert(from.clone(), asker);
                self.found_if_all_are_there();
            }
            BootstrapVerdict::Bootstrapped(founding) => self.adopt(founding),
            // The same entry has the same log before it, here and there.
            BootstrapVerdict::Committed(id) if id == members_at => self.claim_by(true),
            verdict @ (BootstrapVerdict::NotNew | BootstrapVerdict::OtherMembers) => {
                admission.verdict = Some((from.clone(), verdict));
            }
            BootstrapVerdict::New | BootstrapVerdict::Committed(_) => {}
        }
    }

    /// The first founder knows of all the others that their stores are empty: the cluster is theirs.
    fn found_if_all_are_there(&mut self) {
        let Some(admission) = &self.admission else {
            return;
        };
        if self.first_founder() != Some(&self.config.id)
            || !self.missing_founders(admission).is_empty()
        {
            return;
        }
        let seat = |id: &NodeId| {
            let newborn = admission.newborns.get(id).copied();
            let member = Member {
                // Each node has its own idea of how to reach the others, and keeps to it.
                address: String::new(),
                store_id: newborn.unwrap_or(self.store_id),
                role: MemberRole::Voter,
            };
            (id.clone(), member)
        };
        let founding = Membership::new(self.config.voters.iter().map(seat).collect());
        let askers = admission.askers.clone();
        if let Some(admission) = &mut self.admission {
            admission.founds = true;
        }
        self.begin_log_with(founding.clone());
        for (id, asker) in askers {
            if founding.votes_by(&id, asker.0) {
                self.answer_newborn(&id, asker, BootstrapVerdict::Bootstrapped(founding.clone()));
            }
        }
    }

    /// The others have founded the cluster, with this node's store.
    fn adopt(&mut self, founding: Membership) {
        let first = self.first_founder().map(|first| founding.store_id(first));
        let Some(admission) = &self.admission else {
            return;
        };
        let by_the_right_one = admission
            .promised
            .is_none_or(|promised| first == Some(promised));
        let ours = founding.votes_by(&self.config.id, self.store_id);
        if ours && by_the_right_one && admission.newborn && self.knows_nothing() {
            self.begin_log_with(founding);
        }
    }

    fn begin_log_with(&mut self, founding: Membership) {
        self.configurations.append(FOUNDING.index, founding.clone());
        self.log.append(Entry {
            id: FOUNDING,
            time_ms: 0,
            payload: Payload::Membership(founding),
        });
        self.members_changed();
        self.update_eligibility();
    }

    // ----- coming back, as the one that does -----

    /// Whether a request of this leader is answered as that of a node with a say. If not, the leader is told by which
    /// store this node would like to be taken in.
    pub(super) fn is_welcome(&mut self, leader: &NodeId) -> bool {
        let term = self.hard_state.term;
        let Some(admission) = &self.admission else {
            return true;
        };
        let welcomed = admission.welcomed.as_ref();
        if welcomed.is_some_and(|(by, in_term)| by == leader && *in_term == term) {
            return true;
        }
        self.name_store(leader);
        false
    }

    fn name_store(&mut self, leader: &NodeId) {
        let answer = StoreMismatch {
            term: self.hard_state.term,
            store_id: self.store_id,
        };
        self.respond_in_term(leader, RaftResponse::StoreMismatch(answer));
    }

    /// A welcomed node that has what its leader has committed, and finds itself a voter by a store that is not its own,
    /// names its own again: a late word of an earlier store may have come to the leader after it, and nothing in two
    /// numbers says which is the newer one. A leader that knows better already just welcomes it again.
    pub(super) fn object_to_another_store(&mut self, leader: &NodeId) {
        let (id, own) = (&self.config.id, self.store_id);
        if self.admission.is_some() && self.counts_by_another_store(id, own) {
            self.name_store(leader);
        }
    }

    /// The leader counts this node's answers as its log says.
    pub(super) fn on_rejoin_granted(&mut self, from: &NodeId, welcome: &RejoinGranted) {
        self.observe_term(welcome.term);
        let ours = welcome.term == self.hard_state.term && welcome.store_id == self.store_id;
        if let Some(admission) = self.admission.as_mut().filter(|_| ours) {
            admission.welcomed = Some((from.clone(), welcome.term));
        }
    }

    /// Asks the store to note that it holds all promises from now on, once a configuration is on the disk, and known
    /// to be committed, in which this node votes by it.
    ///
    /// Where that is a settled one, the joint one before it, which made this node a voter, is committed: else no leader
    /// would have ended it.
    pub(super) fn update_eligibility(&mut self) {
        if self.admission.is_some() {
            let index = self.membership_index();
            let settled = index > Index::ZERO && !self.membership().is_joint();
            self.claim_by(settled || self.is_membership_committed());
        }
    }

    /// The same, where it is known whether the configuration is committed.
    fn claim_by(&mut self, committed: bool) {
        let index = self.membership_index();
        let votes = self.votes_by_its_store();
        let durable = index > Index::ZERO && index <= self.log.stable();
        if committed && votes && durable && !self.is_admitted_soon() {
            self.claim();
        }
    }

    fn votes_by_its_store(&self) -> bool {
        self.membership().votes_by(&self.config.id, self.store_id)
    }

    fn claim(&mut self) {
        if let Some(admission) = &mut self.admission {
            admission.claiming = true;
            self.out.complete_store = true;
        }
    }

    /// The store holds all promises from now on: the node has its say.
    pub fn store_completed(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let founds = self
            .admission
            .take()
            .is_some_and(|admission| admission.founds);
        if self.role != Role::Follower || self.leader.is_some() {
            return;
        }
        self.rearm_election();
        if self.membership().members().keys().eq([&self.config.id]) {
            self.election_deadline = self.now;
        } else if founds {
            // The others have it by then, and somebody has to begin.
            self.election_deadline = self.now + self.config.heartbeat_interval;
        }
    }

    // ----- coming back, as the leader -----

    /// A peer says that its store is another one than this leader may know.
    pub(super) fn on_store_mismatch(&mut self, from: &NodeId, answer: &StoreMismatch) {
        self.observe_term(answer.term);
        if self.role != Role::Leader || answer.term != self.hard_state.term {
            return;
        }
        let (now, last) = (self.now, self.log.last().index);
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        if peer.store_id != Some(answer.store_id) {
            // What its former store held is gone, and so is what was under way to it.
            *peer = Progress {
                heard_at: peer.heard_at,
                leaves: peer.leaves,
                store_id: Some(answer.store_id),
                ..Progress::new(last, now)
            };
        }
        self.note_replaced_store(from, answer.store_id);
        if self.counts_by_another_store(from, answer.store_id) {
            self.take_out(from, answer.store_id);
        }
        if !self.counts_by_another_store(from, answer.store_id) {
            let welcome = RejoinGranted {
                term: self.hard_state.term,
                store_id: answer.store_id,
            };
            self.request(from, RaftRequest::RejoinGranted(welcome), 0);
        }
    }

    fn note_replaced_store(&mut self, id: &NodeId, store_id: u64) {
        let members = self.configurations.current();
        self.replaced_stores.retain(|id, _| members.contains(id));
        self.replaced_stores.insert(id.clone(), store_id);
    }

    fn counts_by_another_store(&self, id: &NodeId, store_id: u64) -> bool {
        self.membership().is_voter(id) && self.membership().store_id(id) != store_id
    }

    /// Takes a voter that has lost its store out of the voters, as soon as that is allowed: with its next answer it is
    /// tried again.
    fn take_out(&mut self, id: &NodeId, store_id: u64) {
        let next = self.membership().without_store_of(id, store_id);
        if self.may_change_members() && next.is_sound() && self.check_bounds().is_ok() {
            self.append_own(0, Payload::Membership(next));
        }
    }

    /// Makes those voters again that have come back and caught up.
    pub(super) fn take_in_returned(&mut self) {
        let settled = self.membership();
        let returning = |member: &Member| member.role == MemberRole::Rejoining;
        if self.role != Role::Leader
            || !settled.members().values().any(returning)
            || !self.may_change_members()
        {
            return;
        }
        let target = settled.with_returned(|id| self.has_caught_up(id));
        if target != *settled && self.check_bounds().is_ok() {
            let next = self.by_their_stores(settled.joint_with(&target));
            self.append_own(0, Payload::Membership(next));
        }
    }

    /// Notes by which stores those vote who are made voters.
    pub(super) fn by_their_stores(&self, next: Membership) -> Membership {
        let number = |(id, member): (&NodeId, &Member)| {
            let mut member = member.clone();
            let announced = self.peers.get(id).and_then(|peer| peer.store_id);
            if let (MemberRole::Incoming, Some(store_id)) = (member.role, announced) {
                member.store_id = store_id;
            }
            (id.clone(), member)
        };
        Membership::new(next.members().iter().map(number).collect())
    }
}
