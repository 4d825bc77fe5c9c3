//! How a node becomes eligible to vote, and the messages of the bootstrap. [`super::voting`] and [`super::bootstrap`] explain
//! the rules.

use std::time::Duration;

use crate::entry::{ClusterRecord, ClusterState, Entry, Payload};
use crate::ids::{Index, LogId, NodeId, StoreId};
use crate::message::{
    BootstrapProbe, BootstrapProbeResponse, BootstrapVerdict, RaftRequest, RaftResponse,
};
use crate::raft::bootstrap::{BOOTSTRAP_ENTRY, Bootstrap, Prober};
use crate::raft::durable::StoreState;
use crate::raft::membership::{Member, MemberRole, Membership};
use crate::raft::rejoin::Rejoin;
use crate::raft::voting::{Ineligible, VotingStatus};
use crate::raft::{Core, Role};

impl Core {
    // ----- eligibility -----

    /// Whether this node is eligible to vote: its store contains all of its votes and acknowledgements.
    #[must_use]
    pub fn can_vote(&self) -> bool {
        self.ineligible.is_none()
    }

    /// Whether this node is eligible to vote, and if not, why.
    #[must_use]
    pub fn voting_status(&self) -> VotingStatus {
        let Some(ineligible) = &self.ineligible else {
            return VotingStatus::Eligible;
        };
        let bootstrap = &ineligible.bootstrap;
        match bootstrap.objection() {
            _ if ineligible.completing_store || self.votes_by_its_store() => {
                VotingStatus::AwaitingCommit
            }
            _ if self.leader().is_some() || !bootstrap.may_be_new() || !self.has_empty_log() => {
                VotingStatus::Rejoining
            }
            _ if self.config.voters.is_empty() => VotingStatus::Joining,
            Some((_, BootstrapVerdict::NotNew)) => VotingStatus::Rejoining,
            Some((with, BootstrapVerdict::OtherMembers)) => {
                VotingStatus::BootstrapMismatch { with: with.clone() }
            }
            _ => VotingStatus::Bootstrapping {
                missing: bootstrap.missing(&self.config.id, &self.config.voters),
            },
        }
    }

    /// Id of this node's store.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// The node starts with a store in this state.
    pub(super) fn check_store_state(&mut self, state: StoreState) {
        if state == StoreState::Complete {
            return;
        }
        let may_be_new = state == StoreState::New;
        let run = self.rng.below(u64::MAX);
        self.ineligible = Some(Ineligible {
            bootstrap: Bootstrap::new(run, may_be_new, self.now),
            rejoin: Rejoin::default(),
            completing_store: false,
        });
        if may_be_new && self.is_alone() && self.has_empty_log() {
            // A cluster of one: there is no other node to probe.
            match self.state_at_bootstrap() {
                Some(state) => self.begin_cluster_of_one(state),
                None => self.complete_store(),
            }
        }
        self.update_eligibility();
    }

    /// Marks the store as complete once a configuration in which this node votes by this store is durable, and known to be
    /// committed.
    ///
    /// A configuration that is not joint implies that the joint one before it, which made this node a voter, is committed:
    /// otherwise no leader would have ended it.
    pub(super) fn update_eligibility(&mut self) {
        if self.ineligible.is_some() {
            let index = self.membership_index();
            let settled = index > Index::ZERO && !self.membership().is_joint();
            self.complete_store_if_voter(settled || self.is_membership_committed());
        }
    }

    fn complete_store_if_voter(&mut self, committed: bool) {
        let index = self.membership_index();
        let votes = self.votes_by_its_store();
        let durable = index > Index::ZERO && index <= self.log.stable();
        let completing = self
            .ineligible
            .as_ref()
            .is_some_and(|ineligible| ineligible.completing_store);
        // A store that has been abandoned keeps its id until the new one is durable.
        if committed && votes && durable && !completing && !self.is_replacing_store() {
            self.complete_store();
        }
    }

    fn votes_by_its_store(&self) -> bool {
        self.membership().votes_by(&self.config.id, self.store_id)
    }

    fn complete_store(&mut self) {
        if let Some(ineligible) = &mut self.ineligible {
            ineligible.completing_store = true;
            self.out.complete_store = true;
        }
    }

    /// The store is marked as complete: the node is eligible to vote.
    pub fn store_completed(&mut self, now: Duration) {
        self.now = self.now.max(now);
        // If the store was found to be outdated meanwhile, the node is ineligible again.
        let completed = self.ineligible.take_if(|it| it.completing_store);
        let Some(completed) = completed else {
            return;
        };
        let is_creator = completed.bootstrap.is_creator();
        if self.role() != Role::Follower || self.leader().is_some() {
            return;
        }
        self.rearm_election();
        if self.is_alone() {
            self.election_deadline = self.now;
        } else if is_creator {
            // The others have the bootstrap configuration by then. One node campaigns early, so that they need not wait for
            // an election timeout.
            self.election_deadline = self.now + self.config.heartbeat_interval;
        }
    }

    // ----- bootstrap -----

    fn begin_cluster_of_one(&mut self, state: ClusterState) {
        let member = Member {
            address: String::new(),
            store_id: self.store_id,
            role: MemberRole::Voter,
        };
        let mut configuration = Membership::new([(self.config.id.clone(), member)].into());
        configuration.fill_in_addresses(&self.config.addresses);
        let payload = self.first_payload(configuration, Some(state));
        self.begin_log(payload);
    }

    /// The content of the first entry. At level 0 it is the configuration alone.
    fn first_payload(&self, membership: Membership, state: Option<ClusterState>) -> Payload {
        match state {
            None => Payload::Membership(membership),
            Some(ClusterState { level, lineage }) => Payload::Cluster(Box::new(ClusterRecord {
                level,
                lineage,
                membership,
                settings: self.config.initial_settings.clone(),
            })),
        }
    }

    /// Whether neither log nor snapshot contains anything.
    fn has_empty_log(&self) -> bool {
        self.log.last() == LogId::default() && self.membership_index() == Index::ZERO
    }

    /// When the next probes are sent.
    pub(super) fn probe_deadline(&self) -> Option<Duration> {
        let ineligible = self.ineligible.as_ref()?;
        (!ineligible.completing_store).then_some(ineligible.bootstrap.probe_at())
    }

    /// Probes all other members to find out whether the cluster is new. A node with a leader does not need to.
    pub(super) fn send_bootstrap_probes(&mut self) {
        let (now, interval) = (self.now, self.config.heartbeat_interval);
        let Some(ineligible) = &mut self.ineligible else {
            return;
        };
        if ineligible.completing_store || !ineligible.bootstrap.take_due(now, interval) {
            return;
        }
        let run = ineligible.bootstrap.run();
        if self.leader().is_some() {
            return;
        }
        let probe = BootstrapProbe {
            store_id: self.store_id,
            run,
            initial_members: self.config.voters.iter().cloned().collect(),
            members_at: self.members_at(),
        };
        for peer in self.other_members() {
            self.request(&peer, RaftRequest::BootstrapProbe(probe.clone()), 0);
        }
    }

    /// The entry of the configuration in effect, as far as the log still contains its term.
    fn members_at(&self) -> LogId {
        let index = self.membership_index();
        let term = self.log.term_at(index).unwrap_or_default();
        LogId::new(term, index)
    }

    fn other_members(&self) -> Vec<NodeId> {
        let members = self.membership().members().keys();
        members
            .filter(|id| **id != self.config.id)
            .cloned()
            .collect()
    }

    /// The probe of a node with an empty store, which finds out whether the cluster is new.
    pub(super) fn on_bootstrap_probe(&mut self, from: &NodeId, probe: &BootstrapProbe) {
        if !self.membership().contains(from) {
            return;
        }
        let verdict = self.bootstrap_verdict(from, probe);
        if verdict == BootstrapVerdict::NotNew {
            self.note_replaced_store(from, probe.store_id);
        }
        let prober = Prober {
            store_id: probe.store_id,
            run: probe.run,
        };
        self.respond_to_probe(from, prober, verdict);
    }

    fn bootstrap_verdict(&mut self, from: &NodeId, probe: &BootstrapProbe) -> BootstrapVerdict {
        if let Some(verdict) = self.bootstrap_verdict_for(from, probe.store_id) {
            return verdict;
        }
        if self.knows_committed(probe.members_at) {
            return BootstrapVerdict::Committed(probe.members_at);
        }
        let has_empty_log = self.has_empty_log();
        match &mut self.ineligible {
            Some(ineligible) if has_empty_log => {
                let bootstrap = &mut ineligible.bootstrap;
                bootstrap.on_probe(from, probe, &self.config.voters)
            }
            _ => BootstrapVerdict::NotNew,
        }
    }

    /// Whether the log shows that this configuration is committed.
    fn knows_committed(&self, id: LogId) -> bool {
        let settled_since = !self.membership().is_joint() && id.index < self.membership_index();
        id.index > Index::ZERO
            && self.can_vote()
            && self.log.holds(id)
            && (id.index <= self.log.committed || settled_since)
    }

    /// The bootstrap configuration, if it is known and contains this store.
    fn bootstrap_verdict_for(&self, id: &NodeId, store_id: StoreId) -> Option<BootstrapVerdict> {
        let configuration = self.configurations.at(BOOTSTRAP_ENTRY.index)?;
        if !configuration.votes_by(id, store_id) {
            return None;
        }
        Some(match self.clusters.first() {
            Some(record) => BootstrapVerdict::Begun(record.clone()),
            None => BootstrapVerdict::Bootstrapped(configuration.clone()),
        })
    }

    /// Responds once the current state is durable. So a node that passes on the bootstrap configuration has stored it.
    fn respond_to_probe(&mut self, to: &NodeId, prober: Prober, verdict: BootstrapVerdict) {
        let ineligible = self.ineligible.as_ref();
        let response = BootstrapProbeResponse {
            to_store_id: prober.store_id,
            to_run: prober.run,
            store_id: self.store_id,
            run: ineligible.map_or(0, |ineligible| ineligible.bootstrap.run()),
            verdict,
        };
        self.respond(to, RaftResponse::BootstrapProbe(response));
    }

    /// A member has responded to a probe.
    pub(super) fn on_bootstrap_response(
        &mut self,
        from: &NodeId,
        response: BootstrapProbeResponse,
    ) {
        let own = self.store_id;
        let has_empty_log = self.has_empty_log();
        let members_at = self.members_at();
        let Some(ineligible) = self.ineligible.as_mut().filter(|ineligible| {
            response.to_store_id == own
                && response.to_run == ineligible.bootstrap.run()
                && !ineligible.completing_store
        }) else {
            return;
        };
        let bootstrap = &mut ineligible.bootstrap;
        match response.verdict {
            BootstrapVerdict::New if has_empty_log && bootstrap.may_be_new() => {
                bootstrap.on_empty_store(from, &response);
                self.bootstrap_if_complete();
            }
            BootstrapVerdict::Bootstrapped(configuration) => {
                self.accept_bootstrap(Payload::Membership(configuration));
            }
            BootstrapVerdict::Begun(record) => {
                self.accept_bootstrap(Payload::Cluster(Box::new(record)));
            }
            // The same entry implies the same log before it.
            BootstrapVerdict::Committed(id) if id == members_at => {
                self.complete_store_if_voter(true);
            }
            verdict @ (BootstrapVerdict::NotNew | BootstrapVerdict::OtherMembers) => {
                bootstrap.on_objection(from, verdict);
            }
            BootstrapVerdict::New | BootstrapVerdict::Committed(_) => {}
        }
    }

    /// Creates the bootstrap configuration, if all other initial members have confirmed that their stores are empty.
    fn bootstrap_if_complete(&mut self) {
        let Some(bootstrap) = self.ineligible.as_mut().map(|it| &mut it.bootstrap) else {
            return;
        };
        let Some(configuration) =
            bootstrap.create(&self.config.id, self.store_id, &self.config.voters)
        else {
            return;
        };
        let receivers = bootstrap.receivers(&configuration);
        let payload = self.first_payload(configuration, self.state_at_bootstrap());
        let verdict = match &payload {
            Payload::Cluster(record) => BootstrapVerdict::Begun((**record).clone()),
            payload => {
                let configuration = payload.membership().cloned().unwrap_or_default();
                BootstrapVerdict::Bootstrapped(configuration)
            }
        };
        self.begin_log(payload);
        for (id, prober) in receivers {
            self.respond_to_probe(&id, prober, verdict.clone());
        }
    }

    /// Another member has sent the first entry.
    fn accept_bootstrap(&mut self, payload: Payload) {
        let (Some(ineligible), Some(configuration)) = (&self.ineligible, payload.membership())
        else {
            return;
        };
        let ours = configuration.votes_by(&self.config.id, self.store_id);
        let accepts = ineligible
            .bootstrap
            .accepts(configuration, &self.config.voters);
        if ours && accepts && self.has_empty_log() {
            self.begin_log(payload);
        }
    }

    /// Appends the bootstrap entry to the empty log.
    fn begin_log(&mut self, payload: Payload) {
        let entry = Entry {
            id: BOOTSTRAP_ENTRY,
            time_ms: 0,
            payload,
        };
        self.adopt_configuration(&entry);
        self.log.append(entry);
        self.on_members_changed();
        self.update_eligibility();
    }
}
