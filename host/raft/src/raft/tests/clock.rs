//! The time in the log: bounded by the clocks of a majority, and never standing still.

use super::kit::*;
use crate::entry::*;
use crate::ids::*;
use crate::message::*;
use crate::raft::membership::change::Change;
use crate::raft::*;

/// What right clocks show at the start of a test.
const EPOCH: u64 = 1_700_000_000_000;
const BOUND: u64 = 500;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

fn bounded(id: &str, voters: &str) -> CoreConfig {
    CoreConfig {
        max_clock_skew: Some(Duration::from_millis(BOUND)),
        ..config(id, voters)
    }
}

/// A cluster whose nodes have wall clocks.
struct Clocked {
    cluster: Cluster,
    names: String,
    /// By how much each node's wall clock is wrong, in milliseconds.
    skew: BTreeMap<String, i64>,
}

impl Clocked {
    fn of(names: &str) -> Self {
        let node = |id| Node::with(bounded(id, names), HardState::default(), &[]);
        let mut clocked = Self {
            cluster: Cluster::new(names.split(' ').map(node)),
            names: names.to_owned(),
            skew: names.split(' ').map(|id| (id.to_owned(), 0)).collect(),
        };
        clocked.read_clocks();
        clocked
    }

    /// What a right clock shows.
    fn right(&self) -> u64 {
        EPOCH + u64::try_from(self.cluster.now.as_millis()).unwrap()
    }

    fn wall(&self, id: &str) -> u64 {
        self.right().checked_add_signed(self.skew[id]).unwrap()
    }

    fn read_clocks(&mut self) {
        let now = self.cluster.now;
        for id in self.cluster.nodes.keys().cloned().collect::<Vec<_>>() {
            let wall = self.wall(&id);
            self.core(&id).note_wall_clock(now, wall);
        }
    }

    /// Sets the clock of a node wrong by this many milliseconds.
    fn set(&mut self, id: &str, skew: i64) {
        self.skew.insert(id.to_owned(), skew);
        self.read_clocks();
    }

    fn core(&mut self, id: &str) -> &mut Core {
        &mut self.cluster.node(id).core
    }

    fn pass(&mut self, ms: u64) {
        self.cluster.pass(Duration::from_millis(ms));
        self.read_clocks();
    }

    fn elect(&mut self, id: &str) {
        self.cluster.elect(id);
        self.read_clocks();
        self.cluster.settle();
    }

    /// Proposes at the leader, and returns the time of the entry.
    fn stamp(&mut self, id: &str) -> u64 {
        let (now, wall) = (self.cluster.now, self.wall(id));
        let core = self.core(id);
        core.propose(now, wall, command("x")).unwrap();
        let time = core.log().last_time_ms();
        self.cluster.settle();
        time
    }

    fn only_leader(&self) -> &str {
        let leaders = self.cluster.leaders();
        assert_eq!(leaders.len(), 1, "{leaders:?}");
        leaders[0]
    }

    /// The node stops for good.
    fn stop(&mut self, id: &str) {
        self.cluster.cut_off(id);
        let now = self.cluster.now;
        let names = self.names.clone();
        // A node that no other reaches, and that campaigns in vain, stands for it.
        self.cluster.nodes.insert(
            id.to_owned(),
            Node::with(config(id, &names), HardState::default(), &[]),
        );
        self.core(id).tick(now);
    }

    /// Restarts a node with the content of its stores.
    fn restart(&mut self, id: &str) {
        let names = self.names.clone();
        let before = self.cluster.node(id);
        let (log, snapshots) = (before.log.clone(), before.snapshots.clone());
        let last_time_ms = before.core.log().last_time_ms();
        let now = self.cluster.now;
        let node = Node::from_stores(bounded(id, &names), log, snapshots, last_time_ms, now);
        self.cluster.nodes.insert(id.to_owned(), node);
        self.read_clocks();
    }

    fn status(&mut self, id: &str) -> clock::ClockStatus {
        self.core(id).clock_status()
    }
}

fn led(names: &str) -> Clocked {
    let mut clocked = Clocked::of(names);
    clocked.elect("a");
    clocked.pass(2000);
    assert_eq!(clocked.only_leader(), "a");
    clocked
}

// ----- stamps -----

#[test]
fn a_leader_with_a_right_clock_stamps_with_it() {
    let mut cluster = led("a b c");
    assert_eq!(cluster.stamp("a"), cluster.right());
    // A clock may differ within the bound.
    cluster.set("a", 300);
    cluster.pass(2000);
    assert_eq!(cluster.stamp("a"), cluster.right() + 300);
    assert!(!cluster.status("a").is_skewed);
}

#[test]
fn a_leader_that_is_ahead_stamps_no_later_than_the_majority_plus_the_bound() {
    for (names, wrong) in [("a b c", HOUR), ("a b c d e", DAY), ("a b", YEAR)] {
        let mut cluster = led(names);
        cluster.set("a", wrong);
        let time = cluster.stamp("a");
        assert!(time <= cluster.right() + BOUND, "{time} with {names}");
        cluster.pass(100);
        let leader = cluster.only_leader().to_owned();
        let time = cluster.stamp(&leader);
        assert!(time <= cluster.right() + BOUND, "{time} with {names}");
    }
}

#[test]
fn two_wrong_clocks_of_five_do_not_move_the_time_of_the_log() {
    let mut cluster = led("a b c d e");
    cluster.set("a", YEAR);
    cluster.set("b", YEAR);
    for _ in 0..20 {
        cluster.pass(500);
        let leader = cluster.only_leader().to_owned();
        let time = cluster.stamp(&leader);
        assert!(time <= cluster.right() + BOUND, "{time} by {leader}");
    }
    assert!(!["a", "b"].contains(&cluster.only_leader()));
}

#[test]
fn a_leader_that_is_behind_stamps_with_the_clusters_clock() {
    // It finds no better node: b has not caught up, and the clock of c is wrong too.
    let mut cluster = led("a b c");
    cluster.cluster.node("b").disk_works = false;
    cluster.stamp("a");
    cluster.set("a", -DAY);
    cluster.set("c", HOUR);
    cluster.pass(2000);
    assert_eq!(cluster.only_leader(), "a");
    assert!(cluster.status("a").is_skewed);
    let time = cluster.stamp("a");
    let right = cluster.right();
    assert!(time.abs_diff(right) <= BOUND, "{time} instead of {right}");
}

#[test]
fn learners_do_not_decide_the_clusters_clock() {
    let mut cluster = led("a");
    for id in ["b", "c"] {
        let node = Node::with(bounded(id, ""), HardState::default(), &[]);
        cluster.cluster.nodes.insert(id.to_owned(), node);
        cluster.skew.insert(id.to_owned(), YEAR);
    }
    cluster.read_clocks();
    for id in ["b", "c"] {
        let (id, address) = (id.into(), String::new());
        let change = Change::AddLearner { id, address };
        let _ = cluster.cluster.node("a").change(&change);
        cluster.cluster.settle();
    }
    cluster.pass(3000);
    assert_eq!(cluster.stamp("a"), cluster.right());
    assert!(!cluster.status("a").is_skewed);
}

#[test]
fn a_cluster_of_one_stamps_with_its_own_clock() {
    let mut cluster = led("a");
    cluster.set("a", HOUR);
    assert_eq!(cluster.stamp("a"), cluster.wall("a"));
    assert!(!cluster.status("a").is_skewed);
}

// ----- the log is ahead of the clocks -----

#[test]
fn time_that_is_ahead_goes_on_at_monotonic_speed_and_an_alarm_tells_by_how_much() {
    let mut cluster = led("a b c");
    for id in ["a", "b", "c"] {
        cluster.set(id, DAY);
    }
    cluster.pass(2000);
    let leader = cluster.only_leader().to_owned();
    let first = cluster.stamp(&leader);
    assert!(first.abs_diff(cluster.wall(&leader)) <= 1);
    // All clocks were wrong, and are set right.
    for id in ["a", "b", "c"] {
        cluster.set(id, 0);
    }
    let mut before = cluster.cluster.now;
    let mut time = first;
    for pause in [1, 10, 700, 5000, 3] {
        cluster.pass(pause);
        let leader = cluster.only_leader().to_owned();
        let next = cluster.stamp(&leader);
        let passed = u64::try_from((cluster.cluster.now - before).as_millis()).unwrap();
        assert!((next - time).abs_diff(passed) <= 1, "{passed} ms passed");
        (before, time) = (cluster.cluster.now, next);
    }
    let leader = cluster.only_leader().to_owned();
    for id in ["a", "b", "c"] {
        let ahead = cluster.status(id).ahead_ms;
        let day = u64::try_from(DAY).unwrap();
        assert!(ahead.abs_diff(day) <= 2, "{id} reports {ahead}");
    }
    let now = cluster.cluster.now;
    let shown = cluster.core(&leader).log_time_ms(now);
    assert!(shown.abs_diff(time) <= 1, "also between entries");
}

#[test]
fn time_that_is_ahead_goes_on_under_the_next_leader_and_after_a_restart() {
    let mut cluster = led("a b c");
    for id in ["a", "b", "c"] {
        cluster.set(id, HOUR);
    }
    cluster.pass(2000);
    let leader = cluster.only_leader().to_owned();
    let first = cluster.stamp(&leader);
    for id in ["a", "b", "c"] {
        cluster.set(id, 0);
        cluster.restart(id);
    }
    let began = cluster.cluster.now;
    cluster.elect("b");
    cluster.pass(2000);
    let passed = u64::try_from((cluster.cluster.now - began).as_millis()).unwrap();
    let leader = cluster.only_leader().to_owned();
    let next = cluster.stamp(&leader);
    assert!((next - first).abs_diff(passed) <= 1, "{passed} ms passed");
}

#[test]
fn an_entry_that_no_majority_has_does_not_move_the_time_of_the_log() {
    let mut node = Node::with(bounded("a", "a b c"), HardState::default(), &[]);
    node.core.note_wall_clock(node.now, EPOCH);
    let entry = |index, term, time_ms| Entry {
        id: id(term, index),
        time_ms,
        payload: Payload::Noop,
    };
    let append = |from: &str, term, previous, entries| {
        Message::Request(RaftRequest::AppendEntries(AppendEntries {
            term: Term(term),
            leader_id: from.into(),
            previous,
            entries,
            leader_commit: Index(1),
            round: 0,
        }))
    };
    let year = u64::try_from(YEAR).unwrap();
    let entries = vec![entry(1, 1, EPOCH), entry(2, 1, EPOCH + year)];
    node.step("b", append("b", 1, LogId::default(), entries));
    node.step("c", append("c", 2, id(1, 1), vec![entry(2, 2, EPOCH + 7)]));
    assert_eq!(node.core.log().last_time_ms(), EPOCH + 7);
}

// ----- nodes with a wrong clock -----

#[test]
fn a_leader_outside_of_the_bound_transfers_its_leadership() {
    for wrong in [HOUR, -HOUR, YEAR, 700, -700] {
        let mut cluster = led("a b c");
        cluster.stamp("a");
        cluster.set("a", wrong);
        cluster.pass(1000);
        assert_ne!(cluster.only_leader(), "a", "{wrong} ms");
        cluster.pass(1000);
        let status = cluster.status("a");
        assert!(status.is_skewed, "as a follower it still knows it");
        let offset = status.offset_ms.unwrap();
        assert!((offset - wrong).abs() <= 10, "{offset} instead of {wrong}");
    }
}

#[test]
fn it_transfers_to_a_node_whose_clock_is_right() {
    let mut cluster = led("a b c d e");
    cluster.set("b", HOUR);
    cluster.pass(2000);
    cluster.set("a", -HOUR);
    cluster.pass(2000);
    assert!(["c", "d", "e"].contains(&cluster.only_leader()));
}

#[test]
fn it_stays_while_no_other_node_has_caught_up() {
    let mut cluster = led("a b c");
    cluster.cluster.node("b").disk_works = false;
    cluster.stamp("a");
    cluster.set("a", HOUR);
    cluster.set("c", -HOUR);
    for _ in 0..30 {
        cluster.pass(100);
        assert_eq!(cluster.only_leader(), "a");
        assert_eq!(cluster.core("a").transferring_to(), None);
    }
    cluster.cluster.node("b").disk_works = true;
    cluster.pass(2000);
    assert_eq!(cluster.only_leader(), "b");
}

#[test]
fn attempts_to_transfer_become_rarer() {
    let mut cluster = led("a b c");
    cluster.set("a", HOUR);
    let mut attempts = 0;
    for _ in 0..600 {
        // TimeoutNow is lost: no transfer succeeds.
        let now = cluster.cluster.now + Duration::from_millis(100);
        cluster.cluster.now = now;
        let node = cluster.cluster.node("a");
        let before = node.core.transferring_to().is_some();
        node.now = now;
        node.core.tick(now);
        node.run();
        attempts += usize::from(!before && node.core.transferring_to().is_some());
        node.sent.retain(|(_, message)| {
            !matches!(message, Message::Request(RaftRequest::TimeoutNow(_)))
        });
        cluster.cluster.settle();
    }
    assert_eq!(cluster.only_leader(), "a");
    assert!((3..=5).contains(&attempts), "{attempts} in a minute");
}

#[test]
fn a_follower_outside_of_the_bound_lets_the_others_campaign_first() {
    let mut cluster = led("a b c");
    cluster.set("b", HOUR);
    cluster.pass(2000);
    assert!(cluster.status("b").is_skewed);
    cluster.cluster.cut_off("a");
    let b = cluster.core("b").election_deadline();
    cluster.cluster.now = b;
    cluster.core("b").tick(b);
    cluster.cluster.node("b").run();
    assert_eq!(cluster.core("b").role(), Role::Follower);
    assert!(cluster.core("b").election_deadline() >= b + MIN + 2 * MAX);
    cluster.pass(4000);
    assert_eq!(cluster.core("c").role(), Role::Leader);
}

#[test]
fn a_node_that_starts_with_a_wrong_clock_learns_it_from_the_votes() {
    let mut cluster = led("a b c");
    cluster.stamp("a");
    cluster.stop("a");
    cluster.set("b", YEAR);
    for id in ["b", "c"] {
        cluster.restart(id);
    }
    // The first to campaign is the wrong one. With one other clock, it is not known which of the two is wrong: it leads, and
    // stamps with the earlier clock.
    cluster.elect("b");
    let time = cluster.stamp("b");
    assert!(time <= cluster.right() + BOUND, "{time}");
    // With all three, it is.
    let mut cluster = led("a b c");
    for id in ["a", "b", "c"] {
        cluster.restart(id);
    }
    cluster.set("b", YEAR);
    cluster.cluster.now += MAX * 2;
    let now = cluster.cluster.now;
    cluster.read_clocks();
    cluster.core("b").tick(now);
    cluster.cluster.settle();
    cluster.pass(8000);
    assert_ne!(cluster.only_leader(), "b");
}

#[test]
fn where_only_it_is_left_it_leads_and_stamps_with_the_clusters_clock() {
    let mut cluster = led("a b c");
    cluster.set("b", HOUR);
    cluster.stamp("a");
    cluster.pass(2000);
    // Only b has the last entry, so only it can be elected.
    cluster.cluster.cut_off("c");
    cluster.stamp("a");
    cluster.cluster.heal();
    cluster.cluster.cut_off("a");
    cluster.pass(12_000);
    assert_eq!(cluster.core("b").role(), Role::Leader);
    let time = cluster.stamp("b");
    assert!(time <= cluster.right() + BOUND, "{time}");
}

#[test]
fn a_paused_machine_is_not_taken_for_a_wrong_clock() {
    let mut cluster = led("a b c");
    // The host of all three nodes was suspended for an hour: the monotonic clocks stood still.
    for id in ["a", "b", "c"] {
        cluster.skew.insert(id.to_owned(), HOUR);
    }
    cluster.read_clocks();
    cluster.pass(3000);
    assert_eq!(cluster.only_leader(), "a");
    assert_eq!(cluster.core("a").term(), Term(1));
    let (time, wall) = (cluster.stamp("a"), cluster.wall("a"));
    assert!(time.abs_diff(wall) <= 1);
}

// ----- without reports -----

#[test]
fn without_reports_the_clusters_clock_is_continued_as_it_was_known_last() {
    let mut cluster = led("a b c");
    cluster.stamp("a");
    cluster.pass(60_000);
    cluster.set("b", YEAR);
    cluster.cluster.cut_off("a");
    // Its votes come without reports.
    let now = cluster.cluster.now;
    let node = cluster.cluster.node("b");
    node.now = now;
    node.elect();
    let term = node.core.term().0;
    let last = node.core.log().last().index.0;
    node.step("c", matched(term, last));
    cluster.cluster.now = node.now;
    let time = cluster.stamp("b");
    let right = cluster.right();
    assert!(time.abs_diff(right) <= BOUND, "{time} instead of {right}");
}

/// A leader whose own clock is a year ahead, with votes that came without reports. In its log, `later` follows the record of
/// a cluster of this level.
fn leader_without_reports(level: u32, later: Option<Entry>) -> Node {
    let config = CoreConfig {
        known_level: 1,
        ..bounded("b", "a b c")
    };
    let mut node = Node::with(config, HardState::default(), &[]);
    let year = u64::try_from(YEAR).unwrap();
    node.core.note_wall_clock(node.now, EPOCH + year);
    let record = ClusterRecord {
        level,
        lineage: Lineage(7),
        membership: node.core.membership().clone(),
        settings: bytes::Bytes::new(),
    };
    let first = Entry {
        id: id(1, 1),
        time_ms: 0,
        payload: Payload::Cluster(Box::new(record)),
    };
    let entries: Vec<Entry> = [first].into_iter().chain(later).collect();
    let append = AppendEntries {
        term: Term(1),
        leader_id: "a".into(),
        previous: LogId::default(),
        leader_commit: entries[entries.len() - 1].id.index,
        entries,
        round: 1,
    };
    node.step("a", Message::Request(RaftRequest::AppendEntries(append)));
    node.elect();
    node
}

/// The same in a log that has a time.
fn elected_without_reports(level: u32) -> Node {
    let later = Entry {
        id: id(1, 2),
        time_ms: EPOCH,
        payload: Payload::Noop,
    };
    leader_without_reports(level, Some(later))
}

fn stamped(node: &mut Node) -> u64 {
    let wall = EPOCH + u64::try_from(YEAR).unwrap() + u64::try_from(node.now.as_millis()).unwrap();
    node.core.propose(node.now, wall, command("x")).unwrap();
    node.core.log().last_time_ms()
}

#[test]
fn a_node_that_never_knew_the_clusters_clock_continues_the_time_of_the_log() {
    let mut node = elected_without_reports(1);
    let passed = u64::try_from(node.now.as_millis()).unwrap();
    let time = stamped(&mut node);
    assert!((time - EPOCH).abs_diff(passed) <= 1, "{passed} ms passed");
}

#[test]
fn at_level_0_it_uses_its_own_clock_while_others_may_be_of_an_older_release() {
    let mut node = elected_without_reports(0);
    let time = stamped(&mut node);
    assert!(time >= EPOCH + u64::try_from(YEAR).unwrap(), "{time}");
    // The hello of one other node makes a majority that reports clocks.
    let mut node = elected_without_reports(0);
    let hello = Node::new("c").hello();
    node.meet(&hello);
    let time = stamped(&mut node);
    assert!(time < EPOCH + 60_000, "{time}");
}

/// The same in a new cluster.
fn first_leader(level: u32) -> Node {
    leader_without_reports(level, None)
}

#[test]
fn the_first_leader_proposes_no_commands_before_it_knows_the_clocks_of_a_majority() {
    let mut node = first_leader(1);
    let year = u64::try_from(YEAR).unwrap();
    let passed = |node: &Node| u64::try_from(node.now.as_millis()).unwrap();
    assert_eq!(node.core.role(), Role::Leader);
    assert_eq!(node.core.log().last_time_ms(), 0);
    let wall = EPOCH + year + passed(&node);
    let refused = node.core.propose(node.now, wall, command("x"));
    assert_eq!(refused, Err(ProposeError::TimeUnknown));
    // Each heartbeat requests the clocks, also if the responses are lost.
    let mut number = 0;
    for _ in 0..3 {
        node.sent.clear();
        node.pass(HEARTBEAT);
        let requests = node.sent.iter().filter_map(|(to, message)| match message {
            Message::Request(RaftRequest::Clock(request)) if to.as_str() == "a" => {
                Some(request.number)
            }
            _ => None,
        });
        let requests: Vec<u64> = requests.collect();
        assert_eq!(requests, [number + 1]);
        number += 1;
    }
    let report = ClockReport {
        term: node.core.term(),
        number,
        wall_ms: EPOCH + passed(&node),
    };
    node.step("a", Message::Response(RaftResponse::Clock(report.clone())));
    // Its own clock and that of a differ, and either may be the wrong one.
    assert_eq!(node.core.check_room(), Err(ProposeError::TimeUnknown));
    node.step("c", Message::Response(RaftResponse::Clock(report)));
    assert_eq!(node.core.check_room(), Ok(()));
    let time = stamped(&mut node);
    assert!(time.abs_diff(EPOCH + passed(&node)) <= BOUND, "{time}");
}

#[test]
fn the_first_leader_proposes_commands_once_two_of_three_clocks_agree() {
    let mut node = first_leader(1);
    node.pass(HEARTBEAT);
    let report = ClockReport {
        term: node.core.term(),
        number: 1,
        // A year ahead, as its own clock is.
        wall_ms: EPOCH
            + u64::try_from(YEAR).unwrap()
            + u64::try_from(node.now.as_millis()).unwrap(),
    };
    assert_eq!(node.core.check_room(), Err(ProposeError::TimeUnknown));
    node.step("c", Message::Response(RaftResponse::Clock(report)));
    assert_eq!(node.core.check_room(), Ok(()));
}

/// Of two clocks that differ, none can be told to be wrong, and no further report comes.
#[test]
fn a_cluster_of_two_with_clocks_that_differ_begins_its_time() {
    let mut cluster = Clocked::of("a b");
    cluster.set("b", HOUR);
    cluster.elect("a");
    let time = cluster.stamp("a");
    assert!(time.abs_diff(cluster.right()) <= BOUND, "the earlier one");
}

#[test]
fn at_level_0_the_first_leader_begins_the_time_with_its_own_clock() {
    let mut node = first_leader(0);
    let time = stamped(&mut node);
    assert!(time >= EPOCH + u64::try_from(YEAR).unwrap(), "{time}");
}

#[test]
fn a_node_with_a_wrong_clock_is_not_told_that_it_is_right_while_that_cannot_be_judged() {
    let mut cluster = led("a b c");
    cluster.stamp("a");
    // The leader knows two clocks, which differ.
    cluster.cluster.cut_off("c");
    for id in ["a", "b"] {
        cluster.restart(id);
    }
    cluster.set("b", YEAR);
    cluster.elect("a");
    cluster.pass(3000);
    let told = cluster.status("b").offset_ms;
    assert_eq!((cluster.only_leader(), told), ("a", None));
    // It becomes leader with votes that come without reports, where all releases report clocks.
    let now = cluster.cluster.now;
    let node = cluster.cluster.node("b");
    node.now = now;
    node.meet(&Node::new("c").hello());
    node.elect();
    let (term, last) = (node.core.term().0, node.core.log().last().index.0);
    node.step("c", matched(term, last));
    cluster.cluster.now = node.now;
    let time = cluster.stamp("b");
    assert!(time <= cluster.right() + BOUND, "{time}");
}

#[test]
fn a_report_of_another_term_or_of_no_request_is_ignored() {
    let mut cluster = led("a b c");
    cluster.set("a", HOUR);
    let node = cluster.cluster.node("a");
    let term = node.core.term();
    for (term, number) in [
        (term, 999),
        (term.next(), ClockReport::WITH_VOTE),
        (Term(0), 1),
    ] {
        for from in ["b", "c"] {
            let report = ClockReport {
                term,
                number,
                wall_ms: EPOCH + u64::try_from(YEAR).unwrap(),
            };
            node.core.step(
                node.now,
                &from.into(),
                Message::Response(RaftResponse::Clock(report)),
            );
        }
    }
    let time = cluster.stamp("a");
    assert!(time <= cluster.right() + BOUND, "{time}");
}

/// The leader gives the leadership back to a, as a node does whose state is wrong.
fn give_back(cluster: &mut Clocked) {
    let leader = cluster.only_leader().to_owned();
    let now = cluster.cluster.now;
    let core = cluster.core(&leader);
    let transfer = core.transfer_leadership(now, Some("a".into()));
    assert_eq!(transfer, Ok("a".into()));
    cluster.cluster.settle();
    assert_eq!(cluster.only_leader(), "a");
}

#[test]
fn a_leadership_that_comes_back_is_kept_for_a_while() {
    let mut cluster = led("a b c");
    cluster.set("a", HOUR);
    let mut kept = Vec::new();
    for _ in 0..6 {
        let since = cluster.cluster.now;
        while cluster.core("a").role() == Role::Leader {
            cluster.pass(100);
        }
        kept.push(cluster.cluster.now - since);
        cluster.pass(500);
        give_back(&mut cluster);
    }
    assert!(kept[0] < MAX, "it leaves at once the first time: {kept:?}");
    for (time, doublings) in kept[1..].iter().zip([1, 2, 3, 3, 3]) {
        assert!(*time >= MAX * 2u32.pow(doublings), "{kept:?}");
    }
}

/// The leader that gives its leadership away may have a wrong state, and needs time to ask for another one.
#[test]
fn a_leadership_that_was_given_is_kept_for_a_while() {
    let mut cluster = led("a b c");
    cluster.set("b", HOUR);
    cluster.pass(1000);
    let now = cluster.cluster.now;
    let transfer = cluster.core("a").transfer_leadership(now, Some("b".into()));
    assert_eq!(transfer, Ok("b".into()));
    cluster.cluster.settle();
    while cluster.core("b").role() == Role::Leader {
        cluster.pass(10);
    }
    let kept = cluster.cluster.now - now;
    assert!(kept >= MAX, "{kept:?}");
}

#[test]
fn it_stays_while_it_sends_a_snapshot_to_a_voter_that_runs() {
    use crate::raft::progress::{ProgressState, SnapshotTransfer};

    let mut cluster = led("a b c");
    cluster.stamp("a");
    cluster.set("c", -HOUR);
    cluster.set("a", HOUR);
    cluster.pass(1000);
    assert_eq!(cluster.only_leader(), "b");
    give_back(&mut cluster);
    // It reads the next chunk for so long.
    cluster.cluster.node("a").disk_works = false;
    let meta = SnapshotMeta {
        last: id(1, 1),
        time_ms: EPOCH,
        length: 100,
        checksum: 0,
        membership: None,
        cluster: ClusterState::default(),
    };
    let now = cluster.cluster.now;
    let state = ProgressState::Snapshot(SnapshotTransfer::new(meta, now));
    let peer = |cluster: &mut Clocked, state| {
        let b = NodeId::from("b");
        cluster.core("a").role.peer_mut(&b).unwrap().state = state;
    };
    peer(&mut cluster, state);
    for _ in 0..100 {
        cluster.pass(100);
        assert_eq!(cluster.only_leader(), "a");
        assert_eq!(cluster.core("a").transferring_to(), None);
    }
    cluster.cluster.node("a").tasks.clear();
    cluster.cluster.node("a").disk_works = true;
    peer(&mut cluster, ProgressState::Probe { in_flight: None });
    cluster.pass(2000);
    assert_eq!(cluster.only_leader(), "b");
}

#[test]
fn without_a_bound_the_time_stands_still_until_the_leaders_clock_has_reached_it() {
    let node = Node::with(config("a", "a"), HardState::default(), &[]);
    let mut cluster = Clocked {
        cluster: Cluster::new([node]),
        names: "a".to_owned(),
        skew: BTreeMap::from([("a".to_owned(), HOUR)]),
    };
    cluster.elect("a");
    let ahead = cluster.stamp("a");
    cluster.set("a", 0);
    for _ in 0..3 {
        cluster.pass(1000);
        let now = cluster.cluster.now;
        // What waits for the time of the log must not take it for later than an entry would get.
        assert_eq!(cluster.core("a").log_time_ms(now), ahead);
        assert_eq!(cluster.status("a").log_time_ms, ahead);
        assert_eq!(cluster.stamp("a"), ahead);
    }
    cluster.set("a", 2 * HOUR);
    let now = cluster.cluster.now;
    let expected = cluster.core("a").log_time_ms(now);
    assert!(expected > ahead);
    assert_eq!(cluster.stamp("a"), expected);
}
