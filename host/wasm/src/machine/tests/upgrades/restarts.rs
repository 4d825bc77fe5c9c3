//! Upgrades of nodes that are killed at any step, that catch up, or that were started with another module.

use super::*;

/// The log of an upgrade and of the upgrade back, with commands before, between and after.
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

    fn propose(&mut self, record: &UpgradeRecord) {
        self.put(vec![Envelope::upgrade(record), plain(b"a")]);
    }

    /// Each step is an entry of its own, with a command after the record.
    fn upgrade(&mut self, module: &GuestModule) {
        let upgrade = self.node.next().index;
        self.propose(&UpgradeRecord::Begin(begin(module)));
        let half = module.bytes().len() / 2;
        for (offset, bytes) in [(0, ..half), (half, ..module.bytes().len())] {
            self.propose(&UpgradeRecord::Chunk {
                upgrade,
                offset: offset as u64,
                bytes: module.bytes().slice(offset..bytes.end),
            });
        }
        let result = self.node.check_result();
        let CheckResult::Ready { route, state, .. } = result else {
            panic!("{result:?}");
        };
        self.propose(&UpgradeRecord::Report {
            upgrade,
            node: "node1".to_owned(),
            result,
        });
        self.propose(&UpgradeRecord::Activate {
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
fn a_node_killed_after_any_entry_ends_in_the_same_state() {
    let log = log();
    let mut reference = Node::new(scripted());
    replay(&mut reference, &log);
    assert_eq!(reference.send(b"a"), number(69));
    for killed in 0..=log.len() {
        // A restart with the log and without a snapshot.
        let mut again = Node::new(scripted());
        replay(&mut again, &log[..killed]);
        // A restart with a snapshot of that entry, or another node that gets it.
        let mut restored = again.restored_by(scripted());
        drop(again);
        replay(&mut restored, &log[killed..]);
        restored.send(b"a");
        assert_same(&mut reference, &mut restored);
    }
}

#[test]
fn after_a_restore_the_module_is_prepared_again_from_the_snapshot() {
    let module = by_tens();
    let mut node = Node::new(scripted());
    node.send(b"a");
    node.stage(begin(&module), module.bytes());
    node.batch(&[b"a", b"a"]);
    let other = node.restored_by(scripted());
    let tried = |node: &Node| match node.check_result() {
        CheckResult::Ready { tried_at, .. } => tried_at,
        refused @ CheckResult::Refused { .. } => panic!("{refused:?}"),
    };
    let pending = node.machine.status().upgrades().pending.unwrap();
    assert_eq!(Some(tried(&node)), pending.staged_at);
    assert_eq!(tried(&other), node.counts().applied.index);
}

#[test]
fn a_node_started_with_an_earlier_module_gets_the_active_one_from_the_snapshot() {
    let (old, new) = (scripted(), by_tens());
    let mut node = Node::new(old.clone());
    node.entry(&[Envelope::runs(old.sha256())]);
    node.upgrade(&new);
    for started_with in [old.clone(), new.clone()] {
        let mut other = node.restored_by(started_with.clone());
        assert_eq!(other.runs(), new.sha256());
        // The record of its own module is accepted, on the others as well.
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

    // With the log alone: a node started with a later module can't execute the entries before it.
    let mut early = Node::new(new.clone());
    let at = early.next();
    let settled = [Envelope::runs(old.sha256())];
    let error = early.machine.apply(at, &settled).unwrap_err();
    assert!(error.to_string().contains("never ran"), "{error}");
}

impl Node {
    /// A node that was started with `started_with` and restored a snapshot of this one.
    fn restored_by(&mut self, started_with: GuestModule) -> Self {
        let snapshot = self.snapshot();
        let mut other = Self::with_limits(started_with, self.limits);
        other.machine.restore(&mut snapshot.as_slice()).unwrap();
        other
    }
}

#[test]
fn a_preparation_at_once_has_the_same_result_as_on_a_thread() {
    let log = log();
    let mut on_thread = Node::new(scripted());
    replay(&mut on_thread, &log);
    let mut at_once = Node::new(scripted());
    at_once.machine = WasmMachine::new(scripted(), limits(), None).unwrap();
    replay(&mut at_once, &log);
    assert_same(&mut on_thread, &mut at_once);
}

#[test]
fn a_node_without_a_thread_to_prepare_on_reports_that() {
    let module = by_tens();
    let mut node = Node::new(scripted());
    let machine = WasmMachine::new(scripted(), limits(), None).unwrap();
    let none = || Err(io::Error::other("no threads left"));
    node.machine = machine.with_preparation_spawner(Box::new(move |_| none()));
    let upgrade = node.stage(begin(&module), module.bytes());
    let CheckResult::Refused { message } = node.check_result() else {
        panic!("the module was prepared");
    };
    assert!(message.contains("no threads left"), "{message}");
    let close = UpgradeRecord::Close {
        upgrade,
        end: refused(AbortCause::TimedOut),
    };
    assert_eq!(node.propose(&close), UpgradeOutcome::Closed);
    assert_eq!(node.send(b"a"), number(1));
}
