//! Failures of a guest: that each is undone, and how long that takes.

use std::time::Instant;

use oarlock_wasm::{CommandOutcome, GuestModule, MachineLimits};

use super::injected::{Faulty, Scripted, inject, injected_limits};
use super::{Driven, SCRIPTED, core, engine, load};
use crate::Options;
use crate::report::Report;

/// Failures of each guest that are also undone by replay, which takes most of the time.
const COMPARED: u64 = 2_000;
/// Sizes of the state, in MiB, and failures at each that are undone by replay.
const STATES_MIB: [(u32, u64); 3] = [(1, 200), (64, 20), (512, 3)];
/// Failures at each size that are undone by images.
const FAILURES: u64 = 1_000;

/// Injects failures at random points and compares the states; then measures the undo by the size of the state.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let (engine, limits) = (engine(), injected_limits());
    let scripted = core::core_module(&core::in_memory(SCRIPTED));
    let scripted = GuestModule::load(&engine, scripted, &limits).expect("a guest");
    let faulty = load(&engine, "faulty", &limits);
    let (half, begun) = (options.failures / 2, Instant::now());
    let one = inject(&scripted, &Scripted, 1, half, COMPARED);
    let other = inject(&faulty, &Faulty, 2, options.failures - half, COMPARED);
    let [one, other] = [one, other].map(|injected| injected.expect("equal states"));
    let name = format!(
        "{} failures in {} entries with {} rollbacks, undone by {}: equal states",
        one.failures + other.failures,
        one.entries + other.entries,
        one.rollbacks + other.rollbacks,
        faulty.rollback_method()
    );
    report.line(&name, begun.elapsed().as_secs_f64(), "s");
    let replay = faulty.without_memory_images();
    for (mib, replayed) in STATES_MIB {
        undo(&faulty, mib, "after other failures", FAILURES, 4, report);
        undo(
            &faulty,
            mib,
            "after a quiet time",
            FAILURES / 5,
            1_500,
            report,
        );
        undo(&replay, mib, "after other failures", replayed, 4, report);
    }
}

/// How long failures took to undo, each after so many calls that succeeded.
fn undo(
    module: &GuestModule,
    mib: u32,
    what: &str,
    failures: u64,
    calls: u64,
    report: &mut Report,
) {
    let limits = MachineLimits {
        fuel_per_command: 10_000_000_000,
        memory_bytes: 2 << 30,
        ..MachineLimits::default()
    };
    let mut driven = Driven::new(module, &limits);
    for _ in 0..mib {
        driven.apply(&[r#"{"keep":{"mib":1}}"#]);
    }
    let good = [r#"{"add":{"by":1}}"#; 8];
    let mut took_us = Vec::new();
    for _ in 0..failures {
        for _ in 0..calls {
            driven.apply(&good);
        }
        let (outcomes, _) = driven.apply(&[r#"{"half":{}}"#]);
        assert!(
            matches!(outcomes[0], CommandOutcome::Failed(_)),
            "{outcomes:?}"
        );
        driven.apply(&good);
        took_us.push(driven.machine.status().get().counts.last_rollback_us);
    }
    took_us.sort_unstable();
    let at = |percent: usize| took_us[(took_us.len() - 1) * percent / 100] as f64;
    let by = module.rollback_method().name();
    let name = format!("undo by {by}, state of {mib} MiB, {what}, p50");
    report.line(&name, at(50), "µs");
    report.line("  p99", at(99), "µs");
    report.line("  longest", at(100), "µs");
}
