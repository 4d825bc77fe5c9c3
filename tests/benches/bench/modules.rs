//! Upgrades while clients write, and `oarlock check`.

use std::time::{Duration, Instant};

use oarlock_tests::http::Http;
use oarlock_tests::process::{self, Node, apply_somewhere, guest, noted};
use task_queue_raft::RaftConfig;

use super::Options;
use super::load;
use super::oarlock::{Oarlock, payload};
use super::report::{Report, Target};

/// Connections of the load under which modules change.
const CONNECTIONS: usize = 64;
/// Number of upgrades for each size of the state.
const UPGRADES: u8 = 4;
/// Sizes of the state, in MiB.
const STATES_MIB: [usize; 3] = [0, 16, 60];
/// A value of the state that is carried over.
const VALUE_BYTES: usize = 256 << 10;
/// How long the load runs before each, and after the last.
const BETWEEN: Duration = Duration::from_millis(500);
/// A file is checked so often.
const CHECKS: usize = 5;

/// Upgrades modules while clients write: no request may fail, and none may wait long.
pub(crate) async fn upgrade(options: &Options, report: &mut Report) {
    let ours = Oarlock::start(&[], options.binary.as_deref()).await;
    let nodes: Vec<Http> = ours.cluster.nodes.iter().map(Node::http).collect();
    let (mut filled, value) = (0, payload(VALUE_BYTES));
    for mib in STATES_MIB {
        while filled < mib << 20 {
            let key = format!("filling-{filled}");
            let put = format!(r#"{{"put":{{"key":"{key}","value":"{value}"}}}}"#);
            apply_somewhere(&nodes, &key, &put).await;
            filled += VALUE_BYTES;
        }
        under_load(options, report, &ours, mib).await;
    }
}

async fn under_load(options: &Options, report: &mut Report, ours: &Oarlock, mib: usize) {
    // The default heartbeat interval.
    let heartbeat = RaftConfig::default().heartbeat_interval;
    let clients = ours.writers(CONNECTIONS, options.payload).await;
    let work = async {
        let mut slowest = Duration::ZERO;
        for note in 0..UPGRADES {
            tokio::time::sleep(BETWEEN).await;
            let begun = Instant::now();
            let node = ours.cluster.nodes[usize::from(note) % 3].http();
            // Another module under every size, since the one that runs already is refused.
            let module = noted("kv", &[mib as u8, note]);
            let response = node.send(
                "POST",
                "/v1/state-machine",
                &[("oarlock-timeout-ms", "60000")],
                module,
            );
            let response = response.await.expect("a response");
            assert_eq!(response.status, 200, "{response:?}");
            slowest = slowest.max(begun.elapsed());
        }
        tokio::time::sleep(BETWEEN).await;
        slowest
    };
    let (turn, slowest) = load::run_during(clients, work, &ours.pids()).await;
    let name = format!(
        "{UPGRADES} upgrades under {} requests, state of {mib} MiB",
        turn.tally.done()
    );
    report.line(
        &format!("{name}: failed"),
        turn.tally.failed() as f64,
        "requests",
    );
    report.duel(
        &format!("{name}: longest request, against twice the heartbeat"),
        turn.tally.latencies.max_us() as f64 / 1e3,
        2.0 * heartbeat.as_secs_f64() * 1e3,
        "ms",
        Target::AtMost(1.0),
    );
    report.line(
        "  the slowest upgrade, from its bytes to its switch",
        slowest.as_secs_f64(),
        "s",
    );
    report.errors("upgrade", &turn.tally);
}

/// Has the binary check the largest of the example guests.
pub(crate) fn check(options: &Options, report: &mut Report) {
    let module = guest("queue");
    let bytes = std::fs::metadata(&module).expect("a module").len();
    let mut times: Vec<f64> = (0..CHECKS)
        .map(|_| {
            let binary = options
                .binary
                .as_deref()
                .unwrap_or_else(|| process::oarlock());
            let begun = Instant::now();
            let checked = std::process::Command::new(binary)
                .arg("check")
                .arg(&module)
                .output();
            assert!(checked.expect("it runs").status.success());
            begun.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    // The more bytes, the more there is to compile.
    let each_mib = times[CHECKS / 2] * f64::from(1 << 20) / bytes as f64;
    report.duel(
        &format!("check of a module of {} KiB, for 1 MiB", bytes >> 10),
        each_mib,
        1.0,
        "s",
        Target::AtMost(1.0),
    );
}
