//! Upgrades: every node switches to another module at the same entry.

use super::*;
use crate::records::outcome::{UpgradeOutcome, UpgradeRefusal};
use crate::records::settings::SettingsChange;
use crate::records::upgrade::{
    AbortCause, CheckResult, MigrationRoute, UpgradeBegin, UpgradeEnd, UpgradeRecord,
};
use crate::testing::scripted_but;
use crate::upgrade::MAX_KEPT_BYTES;

mod journal;
mod restarts;

const CHUNK: usize = 4_000;
const ADDS_1: &str = "(i64.add (i64.load (i32.const 0)) (i64.const 1))";
const ADDS_10: &str = "(i64.add (i64.load (i32.const 0)) (i64.const 10))";
const FITS: &str =
    "(i32.store8 (i32.const 32) (i32.ne (local.get $total) (i32.load (i32.const 8))))";

/// Adds 10 where `scripted` adds 1; the next version.
fn by_tens() -> GuestModule {
    scripted_but(&[
        (ADDS_1, ADDS_10),
        (
            "(i32.store (i32.const 40) (i32.const 3))",
            "(i32.store (i32.const 40) (i32.const 4))",
        ),
    ])
}

/// Refuses to restore a value above `max`.
fn modest(max: u64) -> GuestModule {
    let check = format!(
        "(i32.store8 (i32.const 32) (i64.gt_u (i64.load (i32.const 0)) (i64.const {max})))"
    );
    scripted_but(&[(FITS, &check)])
}

fn number(value: u64) -> CommandOutcome {
    accepted(value.to_le_bytes())
}

fn begin(module: &GuestModule) -> UpgradeBegin {
    UpgradeBegin {
        sha256: module.sha256(),
        bytes: module.bytes().len() as u64,
        wait_ms: 60_000,
        dry_run: false,
        by: "ann".to_owned(),
    }
}

fn refused(cause: AbortCause) -> UpgradeEnd {
    UpgradeEnd::because(cause)
}

impl Node {
    fn propose(&mut self, record: &UpgradeRecord) -> UpgradeOutcome {
        match self.entry(&[Envelope::upgrade(record)]).remove(0) {
            CommandOutcome::Upgrade(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Steps 1 and 2: begins the upgrade and sends the module.
    fn stage(&mut self, begin: UpgradeBegin, module: &[u8]) -> Index {
        let upgrade = self.next().index;
        assert_eq!(
            self.propose(&UpgradeRecord::Begin(begin)),
            UpgradeOutcome::Begun
        );
        let last = module.len().div_ceil(CHUNK) - 1;
        for (number, bytes) in module.chunks(CHUNK).enumerate() {
            let outcome = self.propose(&UpgradeRecord::Chunk {
                upgrade,
                offset: (number * CHUNK) as u64,
                bytes: Bytes::copy_from_slice(bytes),
            });
            if number < last {
                assert_eq!(outcome, UpgradeOutcome::ChunkAdded);
            } else {
                assert_eq!(outcome, UpgradeOutcome::Staged);
            }
        }
        upgrade
    }

    /// Step 3: waits for this node's result.
    fn check_result(&self) -> CheckResult {
        loop {
            if let Some(result) = self.machine.status().upgrades().own_check() {
                return result.clone();
            }
            self.changes.recv().expect("the machine exists");
        }
    }

    /// Step 4: reports the result. Returns the record that a leader would propose next.
    fn report(&mut self, upgrade: Index, node: &str) -> UpgradeRecord {
        let result = self.check_result();
        let CheckResult::Ready { route, state, .. } = result else {
            panic!("{result:?}");
        };
        let report = UpgradeRecord::Report {
            upgrade,
            node: node.to_owned(),
            result,
        };
        assert_eq!(self.propose(&report), UpgradeOutcome::ReportNoted);
        UpgradeRecord::Activate {
            upgrade,
            route,
            state,
        }
    }

    /// All steps except the switch. Returns its record.
    fn prepare_switch(&mut self, module: &GuestModule) -> UpgradeRecord {
        let upgrade = self.stage(begin(module), module.bytes());
        self.report(upgrade, "node1")
    }

    fn upgrade(&mut self, module: &GuestModule) {
        let activate = self.prepare_switch(module);
        assert_eq!(self.propose(&activate), UpgradeOutcome::Activated);
    }

    /// How the latest upgrade ended.
    fn end(&self) -> UpgradeEnd {
        let upgrades = self.machine.status().upgrades();
        assert_eq!(upgrades.pending, None, "the upgrade has ended");
        upgrades
            .past
            .last()
            .expect("there was an upgrade")
            .end
            .clone()
    }

    fn runs(&self) -> Sha256 {
        let status = self.machine.status();
        assert_eq!(status.get().sha256, self.machine.module().sha256());
        status.get().sha256
    }
}

#[test]
fn the_new_module_continues_with_the_state_of_the_old_one_from_one_entry_on() {
    let (old, new) = (scripted(), by_tens());
    let mut node = Node::new(old.clone());
    node.batch(&[b"a", b"a"]);
    let activate = node.prepare_switch(&new);
    assert_eq!(
        node.send(b"a"),
        number(3),
        "the old module serves until the switch"
    );
    let outcomes = node.entry(&[plain(b"a"), Envelope::upgrade(&activate), plain(b"a")]);
    assert_eq!(
        outcomes,
        [
            number(4),
            CommandOutcome::Upgrade(UpgradeOutcome::Activated),
            number(14)
        ],
        "commands before the record run on the old module"
    );
    assert_eq!(node.runs(), new.sha256());
    assert_eq!(node.machine.status().get().version, 4);
    let upgrades = node.machine.status().upgrades();
    let past = upgrades.activated(new.sha256()).unwrap();
    assert_eq!(past.by, "ann");
    assert_eq!(past.ended, node.counts().applied);
    assert_eq!(past.module, Some(("scripted".to_owned(), 4)));

    // Going back is an upgrade like any other.
    node.upgrade(&old);
    assert_eq!((node.runs(), node.send(b"a")), (old.sha256(), number(15)));
    assert_eq!(node.machine.status().upgrades().past.len(), 2);
    // A rollback of the new module stays on the new module.
    node.upgrade(&new);
    assert_eq!(code(&node.send(b"t")), "trap");
    assert_eq!(node.send(b"a"), number(25));
}

#[test]
fn keys_deferred_commands_wake_ups_and_the_hash_chain_continue() {
    let mut node = Node::new(scripted());
    let mut without = Node::new(scripted());
    for node in [&mut node, &mut without] {
        assert_eq!(node.send_with_key("k", b"a"), number(1));
        node.send(op_long(b'd', 7, b""));
        node.send_with_key("late", op_long(b'd', 8, b""));
        node.send(op_long(b'w', 1, b""));
    }
    node.upgrade(&by_tens());
    assert_ne!(node.machine.state_hash(), without.machine.state_hash());
    assert_eq!(node.send_with_key("k", b"a"), number(1), "the first reply");
    assert_eq!(code(&node.send_with_key("k", b"e")), "key_reused");
    assert_eq!(node.counts().deferred, 2);
    node.batch(&[op_long(b'c', 7, b"yes"), op_long(b'x', 8, b"no")]);
    let tokens = |node: &Node| -> Vec<u64> {
        let completions = node
            .seen()
            .into_iter()
            .flat_map(|(_, seen)| seen.completions);
        completions.map(|completion| completion.token).collect()
    };
    assert_eq!(tokens(&node), [7, 8]);
    let late = node.send_with_key("late", op_long(b'd', 8, b""));
    assert_eq!(late, CommandOutcome::Rejected(Bytes::from_static(b"no")));
    node.entry(&[Envelope::wake()]);
    assert_eq!(
        node.send(b"a"),
        number(111),
        "1, then 100 by waking, then 10"
    );
}

#[test]
fn each_record_out_of_order_is_refused_with_the_reason_and_changes_nothing() {
    let (old, new) = (scripted(), by_tens());
    let mut node = Node::new(old.clone());
    let refusal = |node: &mut Node, record: UpgradeRecord| match node.propose(&record) {
        UpgradeOutcome::Refused(refusal) => refusal,
        outcome => panic!("{outcome:?}"),
    };
    let size = |bytes| UpgradeBegin {
        bytes,
        ..begin(&new)
    };
    let chunk = |upgrade, offset, bytes: &[u8]| UpgradeRecord::Chunk {
        upgrade,
        offset,
        bytes: Bytes::copy_from_slice(bytes),
    };
    let activate = |upgrade| UpgradeRecord::Activate {
        upgrade,
        route: MigrationRoute::Snapshot,
        state: Sha256::default(),
    };

    let limit = node.limits.module_bytes;
    for bytes in [0, limit + 1] {
        let found = refusal(&mut node, UpgradeRecord::Begin(size(bytes)));
        assert_eq!(found, UpgradeRefusal::Size { bytes, limit });
    }
    let found = refusal(&mut node, UpgradeRecord::Begin(begin(&old)));
    let sha256 = old.sha256();
    assert_eq!(found, UpgradeRefusal::Active { sha256 });
    let nothing = Index(1);
    let not_in_progress = |upgrade| UpgradeRefusal::NotInProgress { upgrade };
    for record in [chunk(nothing, 0, b"x"), activate(nothing)] {
        assert_eq!(refusal(&mut node, record), not_in_progress(nothing));
    }

    let upgrade = node.next().index;
    node.propose(&UpgradeRecord::Begin(begin(&new)));
    let found = refusal(&mut node, UpgradeRecord::Begin(begin(&kv())));
    let sha256 = new.sha256();
    assert_eq!(found, UpgradeRefusal::InProgress { upgrade, sha256 });
    node.propose(&chunk(upgrade, 0, &new.bytes()[..10]));
    for (offset, bytes) in [
        (0, &b"x"[..]),
        (11, b"x"),
        (10, b""),
        (10, &vec![0; 1 << 20]),
    ] {
        let found = refusal(&mut node, chunk(upgrade, offset, bytes));
        assert_eq!(found, UpgradeRefusal::Offset { expected: 10 });
    }
    let not_ready = |found| matches!(found, UpgradeRefusal::NotReady { .. });
    assert!(not_ready(refusal(&mut node, activate(upgrade))));
    let early = UpgradeRecord::Report {
        upgrade,
        node: "node1".to_owned(),
        result: CheckResult::Refused {
            message: String::new(),
        },
    };
    assert!(not_ready(refusal(&mut node, early)));
    node.propose(&chunk(upgrade, 10, &new.bytes()[10..]));
    assert!(
        not_ready(refusal(&mut node, activate(upgrade))),
        "there is no report"
    );
    assert_eq!((node.runs(), node.send(b"a")), (old.sha256(), number(1)));
}

#[test]
fn a_dry_run_does_everything_except_the_switch() {
    let new = by_tens();
    let mut node = Node::new(scripted());
    let dry = UpgradeBegin {
        dry_run: true,
        ..begin(&new)
    };
    let upgrade = node.stage(dry, new.bytes());
    let activate = node.report(upgrade, "node1");
    let outcome = node.propose(&activate);
    assert_eq!(outcome, UpgradeOutcome::Refused(UpgradeRefusal::DryRun));
    let close = UpgradeRecord::Close {
        upgrade,
        end: UpgradeEnd::DryRunPassed,
    };
    assert_eq!(node.propose(&close), UpgradeOutcome::Closed);
    assert_eq!(
        (node.end(), node.send(b"a")),
        (UpgradeEnd::DryRunPassed, number(1))
    );
    node.upgrade(&new);
    assert_eq!(node.send(b"a"), number(11));
}

#[test]
fn bytes_with_another_digest_abort_the_upgrade() {
    let new = by_tens();
    let mut node = Node::new(scripted());
    let upgrade = node.next().index;
    node.propose(&UpgradeRecord::Begin(begin(&new)));
    let mut bytes = new.bytes().to_vec();
    bytes[100] ^= 1;
    let outcome = node.propose(&UpgradeRecord::Chunk {
        upgrade,
        offset: 0,
        bytes: bytes.into(),
    });
    assert_eq!(outcome, UpgradeOutcome::Closed);
    assert_eq!(node.end(), refused(AbortCause::ModuleCorrupt));
    node.upgrade(&new);
}

#[test]
fn a_module_that_is_not_a_guest_or_does_not_restore_the_state_is_found_before_the_switch() {
    let mut node = Node::new(scripted());
    node.send(b"a");
    let invalid = b"\0asm not at all".to_vec();
    let foreign = kv();
    let of_another = foreign.bytes().to_vec();
    let strict = modest(0).bytes().to_vec();
    for (module, reason) in [
        (invalid, "refuses this module"),
        (of_another, "not a snapshot of an oarlock guest"),
        (strict, "of another length"),
    ] {
        let begin = UpgradeBegin {
            sha256: Sha256::of(&module),
            bytes: module.len() as u64,
            ..begin(&foreign)
        };
        let upgrade = node.stage(begin, &module);
        let CheckResult::Refused { message } = node.check_result() else {
            panic!("the module was accepted");
        };
        assert!(message.contains(reason), "{message}");
        let end = UpgradeEnd::Aborted {
            cause: AbortCause::NodeRefused,
            message,
        };
        let close = UpgradeRecord::Close {
            upgrade,
            end: end.clone(),
        };
        assert_eq!(node.propose(&close), UpgradeOutcome::Closed);
        assert_eq!(node.end(), end);
    }
    assert_eq!(node.send(b"a"), number(2));
}

#[test]
fn if_the_state_can_not_be_written_or_restored_at_the_switch_the_old_module_stays() {
    let limits = MachineLimits {
        snapshot_bytes: 1_000,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    node.send(b"a");
    let activate = node.prepare_switch(&by_tens());
    node.send(op(b'p', 10_000));
    assert_eq!(node.propose(&activate), UpgradeOutcome::Closed);
    assert_eq!(node.end(), refused(AbortCause::OldSnapshotFailed));
    node.send(op(b'p', 0));

    let activate = node.prepare_switch(&modest(1));
    node.send(b"a");
    assert_eq!(node.propose(&activate), UpgradeOutcome::Closed);
    assert_eq!(node.end(), refused(AbortCause::NewRestoreFailed));
    assert_eq!(
        (node.runs(), node.send(b"a")),
        (scripted().sha256(), number(3))
    );
}

#[test]
fn a_node_that_can_not_switch_stops_with_the_reason() {
    let mut node = Node::new(scripted());
    node.send(b"a");
    let module = modest(0);
    let upgrade = node.stage(begin(&module), module.bytes());
    let ready = CheckResult::Ready {
        tried_at: Index(1),
        route: MigrationRoute::Snapshot,
        state: Sha256::default(),
    };
    // Another node is ready.
    node.propose(&UpgradeRecord::Report {
        upgrade,
        node: "node2".to_owned(),
        result: ready,
    });
    let activate = UpgradeRecord::Activate {
        upgrade,
        route: MigrationRoute::Snapshot,
        state: Sha256::default(),
    };
    let at = node.next();
    let stopped = node.machine.apply(at, &[Envelope::upgrade(&activate)]);
    let error = stopped.unwrap_err().to_string();
    assert!(error.contains("does not run on this node"), "{error}");
}

/// Overflows its stack when it writes or restores a state with this value.
fn recursive(at: &str, value: u64) -> GuestModule {
    let overflow = format!(
        "(if (i64.eq (i64.load (i32.const 0)) (i64.const {value})) (then (drop (call $overflow (i32.const 0))))) {at}"
    );
    scripted_but(&[(at, &overflow)])
}

#[test]
fn a_stack_overflow_at_the_switch_stops_the_node_and_does_not_end_the_upgrade() {
    const WRITES: &str = "(call $write (local.get $sink) (i32.const 0) (i32.const 16))";
    const HAS_READ: &str = "(call $drop_source (local.get $source))";
    for (old, new) in [
        (recursive(WRITES, 2), by_tens()),
        (scripted(), recursive(HAS_READ, 2)),
    ] {
        let mut node = Node::new(old);
        node.send(b"a");
        let activate = node.prepare_switch(&new);
        node.send(b"a");
        let at = node.next();
        let stopped = node.machine.apply(at, &[Envelope::upgrade(&activate)]);
        let error = stopped.unwrap_err().to_string();
        assert!(error.contains("stack"), "{error}");
    }
    // If it happens in the preparation, only this node refuses.
    let mut node = Node::new(recursive(WRITES, 1));
    node.send(b"a");
    node.stage(begin(&by_tens()), by_tens().bytes());
    let CheckResult::Refused { message } = node.check_result() else {
        panic!("the module was accepted");
    };
    assert!(message.contains("stack overflowed"), "{message}");
}

#[test]
fn the_new_module_receives_the_version_that_wrote_the_state() {
    // Restores a state other than the initial one only from version 3, like a module that migrates.
    let check = "(i32.store8 (i32.const 32) (i32.and (i64.ne (i64.load (i32.const 0)) (i64.const 0)) (i32.ne (local.get $by) (i32.const 3))))";
    let version = |number: u32| {
        let described = format!("(i32.store (i32.const 40) (i32.const {number}))");
        scripted_but(&[
            (FITS, check),
            ("(i32.store (i32.const 40) (i32.const 3))", &described),
        ])
    };
    let mut node = Node::new(scripted());
    node.send(b"a");
    let module = version(4);
    // It writes its state as version 4, and does not have to restore that here.
    node.upgrade(&module);
    assert_eq!(node.send(b"a"), number(2));
    let upgrade = version(5);
    node.stage(begin(&upgrade), upgrade.bytes());
    let CheckResult::Refused { .. } = node.check_result() else {
        panic!("version 5 does not restore a state of version 4");
    };
}

/// The stack limit is changed between the preparation of the module and the switch.
#[test]
fn an_upgrade_runs_by_the_rules_and_the_stack_limit_at_its_switch() {
    let mut node = Node::new(scripted());
    let at = node.next();
    let settings = ReplicatedSettings::proposed(&limits());
    node.machine.configure(at, 1, &settings.encode()).unwrap();
    node.send(b"a");
    let activate = node.prepare_switch(&by_tens());
    let change = SettingsChange {
        release: "0.1.0".to_owned(),
        by: "test".to_owned(),
        values: [("stack_bytes".to_owned(), 65_536)].into(),
    };
    let outcomes = node.entry(&[Envelope::settings(&change)]);
    assert_eq!(codes(&outcomes), ["changed"]);
    assert_eq!(node.propose(&activate), UpgradeOutcome::Activated);
    assert_eq!(
        node.send(b"s"),
        CommandOutcome::Failed(GuestFailure::TooDeep { limit: 65_536 })
    );
    assert_eq!(node.send(b"a"), number(11));
}
