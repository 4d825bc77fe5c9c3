//! Nodes that are killed at any step, that come late, or that were started with another module.

use super::*;

/// An upgrade and the way back with commands all around, entry by entry, as the log has them.
fn log() -> Vec<Vec<Bytes>> {
    let mut node = Recorder {
        node: Node::new(scripted()),
        log: Vec::new(),
    };
    node.put(vec![Envelope::runs(scripted().sha256())]);
    node.put(vec![plain(b"a"), keyed("k", b"a")]);
    for module in [by_tens(), scripted()] {
        node.upgrade(&module);
        node.put(vec![plain(b"a"), keyed("k", b"a")]);
    }
    node.log
}

struct Recorder {
    node: Node,
    log: Vec<Vec<Bytes>>,
}

impl Recorder {
    fn put(&mut self, entry: Vec<Bytes>) {
        self.node.entry(&entry);
        self.log.push(entry);
    }

    fn say(&mut self, word: &UpgradeRecord) {
        self.put(vec![Envelope::upgrade(word), plain(b"a")]);
    }

    /// Every step is an entry of its own, with a command after its word.
    fn upgrade(&mut self, module: &GuestModule) {
        let upgrade = self.node.next().index;
        self.say(&UpgradeRecord::Begin(begin(module)));
        let half = module.bytes().len() / 2;
        for (offset, bytes) in [(0, ..half), (half, ..module.bytes().len())] {
            self.say(&UpgradeRecord::Chunk {
                upgrade,
                offset: offset as u64,
                bytes: module.bytes().slice(offset..bytes.end),
            });
        }
        let verdict = self.node.verdict();
        let CheckResult::Ready { route, state, .. } = verdict else {
            panic!("{verdict:?}");
        };
        self.say(&UpgradeRecord::Report {
            upgrade,
            node: "node1".to_owned(),
            result: verdict,
        });
        self.say(&UpgradeRecord::Activate {
            upgrade,
            route,
            state,
        });
    }
}

fn replay(node: &mut Node, entries: &[Vec<Bytes>]) {
    for entry in entries {
        node.entry(entry);
    }
}

#[test]
fn a_node_that_is_killed_after_any_entry_ends_where_the_others_do() {
    let log = log();
    let mut whole = Node::new(scripted());
    replay(&mut whole, &log);
    assert_eq!(whole.send(b"a"), number(69));
    for killed in 0..=log.len() {
        // It has its log and no snapshot.
        let mut again = Node::new(scripted());
        replay(&mut again, &log[..killed]);
        // Its snapshot at that entry is all that is left of the first life, or what another node gets.
        let mut restored = again.restored_by(scripted());
        drop(again);
        replay(&mut restored, &log[killed..]);
        restored.send(b"a");
        assert_same(&mut whole, &mut restored);
    }
}

#[test]
fn a_report_is_made_once_more_from_the_state_of_a_snapshot() {
    let module = by_tens();
    let mut node = Node::new(scripted());
    node.send(b"a");
    node.stage(begin(&module), module.bytes());
    node.batch(&[b"a", b"a"]);
    let other = node.restored_by(scripted());
    let tried = |node: &Node| match node.verdict() {
        CheckResult::Ready { tried_at, .. } => tried_at,
        refused @ CheckResult::Refused { .. } => panic!("{refused:?}"),
    };
    let pending = node.machine.status().upgrades().pending.unwrap();
    assert_eq!(Some(tried(&node)), pending.staged_at);
    assert_eq!(tried(&other), node.counts().applied.index);
}

#[test]
fn a_node_that_was_started_with_a_module_of_before_gets_the_one_of_now_from_the_snapshot() {
    let (old, new) = (scripted(), by_tens());
    let mut node = Node::new(old.clone());
    node.entry(&[Envelope::runs(old.sha256())]);
    node.upgrade(&new);
    for started_with in [old.clone(), new.clone()] {
        let mut other = node.restored_by(started_with.clone());
        assert_eq!(other.runs(), new.sha256());
        // Its own word is taken, also by the others.
        for node in [&mut node, &mut other] {
            node.entry(&[Envelope::runs(started_with.sha256())]);
            assert_eq!(code(&node.send(b"a")), "accepted");
        }
        assert_same(&mut node, &mut other);
    }
}

#[test]
fn a_node_with_a_module_that_the_cluster_never_ran_stops() {
    let (old, new) = (scripted(), by_tens());
    let mut node = Node::new(old.clone());
    node.upgrade(&new);
    let bytes = node.snapshot();
    let mut foreign = Node::new(kv());
    let error = foreign.machine.restore(&mut bytes.as_slice()).unwrap_err();
    assert!(error.to_string().contains("never ran"), "{error}");

    // From the log: one that was started with what comes later can't run what came before.
    let mut early = Node::new(new.clone());
    let at = early.next();
    let settled = [Envelope::runs(old.sha256())];
    let error = early.machine.apply(at, &settled).unwrap_err();
    assert!(error.to_string().contains("never ran"), "{error}");
}

impl Node {
    /// A node that was started with this module and got the snapshot of this one.
    fn restored_by(&mut self, started_with: GuestModule) -> Self {
        let snapshot = self.snapshot();
        let mut other = Self::with_limits(started_with, self.limits);
        other.machine.restore(&mut snapshot.as_slice()).unwrap();
        other
    }
}

#[test]
fn what_a_node_prepares_at_once_is_what_others_prepare_aside() {
    let log = log();
    let mut aside = Node::new(scripted());
    replay(&mut aside, &log);
    let mut at_once = Node::new(scripted());
    at_once.machine = WasmMachine::new(scripted(), limits(), None).unwrap();
    replay(&mut at_once, &log);
    assert_same(&mut aside, &mut at_once);
}

#[test]
fn a_node_without_a_thread_to_prepare_on_reports_that() {
    let module = by_tens();
    let mut node = Node::new(scripted());
    let machine = WasmMachine::new(scripted(), limits(), None).unwrap();
    let none = || Err(io::Error::other("no threads left"));
    node.machine = machine.with_preparation_spawner(Box::new(move |_| none()));
    let upgrade = node.stage(begin(&module), module.bytes());
    let CheckResult::Refused { message: words } = node.verdict() else {
        panic!("it was prepared");
    };
    assert!(words.contains("no threads left"), "{words}");
    let close = UpgradeRecord::Close {
        upgrade,
        end: refused(AbortCause::TimedOut),
    };
    assert_eq!(node.say(&close), UpgradeOutcome::Closed);
    assert_eq!(node.send(b"a"), number(1));
}
