//! Three nodes against three of etcd: the same machine, the same load, in turn.
//!
//! Both clusters run all the time, and only one gets requests at a time. Writes are puts of new values under a fixed set of
//! keys, durable on a majority before the response; reads are linearizable.

use std::time::Duration;

use super::disk;
use super::etcd::{self, Etcd};
use super::load::{self, Turn};
use super::oarlock::{KEYS, Oarlock};
use super::report::{Report, Target};
use super::{Options, Part};
use oarlock_client::load::generator::Session;

/// Connections of the pipelined load, and requests in flight on each.
const PIPELINED: (usize, usize) = (16, 64);
/// Connections of the readers.
const READERS: usize = 256;
/// What the project aims at, as a ratio to etcd's throughput.
const WRITES_TARGET: f64 = 5.0;
const PIPELINED_TARGET: f64 = 10.0;
const READS_TARGET: f64 = 5.0;
/// Commands that the leader makes durable with one sync, at the largest load.
const PER_SYNC_TARGET: f64 = 100.0;
/// With one connection: so much of the plain append's time, and so many microseconds more.
const SINGLE_TARGET: (f64, f64) = (1.3, 200.0);

/// One kind of load, for either side.
#[derive(Clone, Copy)]
enum Kind {
    Writes(usize),
    /// Over HTTP/2.
    Pipelined,
    /// Over HTTP/1.1; etcd, which speaks only HTTP/2, as before.
    Pipelined1,
    Reads,
}

/// Runs all loads that are wanted.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let mut kinds = Vec::new();
    if options.wants(Part::Writes) {
        kinds.extend(
            options
                .connections
                .iter()
                .map(|&connections| Kind::Writes(connections)),
        );
    }
    if options.wants(Part::Pipelined) {
        kinds.extend([Kind::Pipelined, Kind::Pipelined1]);
    }
    if options.wants(Part::Reads) {
        kinds.push(Kind::Reads);
    }
    if kinds.is_empty() {
        return;
    }
    let ours = Side::Oarlock(Oarlock::start(&[], options.binary.as_deref()).await);
    let theirs = other_side(options, report).await;
    for kind in kinds {
        let (mut our_turns, mut their_turns, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            if let Kind::Writes(1) = kind {
                // The speed of the disk drifts: it is measured directly before.
                plain.extend(disk::plain_appends());
            }
            our_turns.push(ours.ask(options, kind).await);
            if let Some(theirs) = &theirs {
                their_turns.push(theirs.ask(options, kind).await);
            }
        }
        tell(report, kind, &our_turns, &their_turns);
        if !plain.is_empty() {
            tell_single(report, &our_turns, disk::median(&mut plain));
        }
    }
}

/// A cluster under load.
enum Side {
    Oarlock(Oarlock),
    Etcd(Etcd),
}

/// The cluster that Oarlock is compared with, if any.
async fn other_side(options: &Options, report: &mut Report) -> Option<Side> {
    if let Some(binary) = &options.against {
        report.other = Some(binary.display().to_string());
        return Some(Side::Oarlock(Oarlock::start(&[], Some(binary)).await));
    }
    match Etcd::version() {
        _ if options.alone => None,
        None => {
            report.note(etcd::HOW_TO_GET);
            None
        }
        version => {
            report.other = version;
            Some(Side::Etcd(Etcd::start().await))
        }
    }
}

impl Side {
    /// One turn.
    async fn ask(&self, options: &Options, kind: Kind) -> Turn {
        let before = self.syncs().await;
        let mut turn = match self {
            Self::Oarlock(cluster) => ask_oarlock(options, cluster, kind).await,
            Self::Etcd(cluster) => ask_etcd(options, cluster, kind).await,
        };
        turn.syncs = self.syncs().await - before;
        turn
    }

    /// How often the leader has synced its log.
    async fn syncs(&self) -> u64 {
        match self {
            Self::Oarlock(cluster) => cluster.syncs().await,
            Self::Etcd(cluster) => cluster.syncs().await,
        }
    }
}

async fn ask_oarlock(options: &Options, cluster: &Oarlock, kind: Kind) -> Turn {
    let (addresses, pids) = (cluster.addresses(options.spread), cluster.pids());
    let time = options.turn();
    match kind {
        Kind::Writes(connections) => {
            let open = async |address: &str| Oarlock::writer(address, options.payload).await;
            load::run(open_all(&addresses, connections, open).await, time, &pids).await
        }
        Kind::Pipelined => {
            let open = async |address: &str| Oarlock::pipeline(address, options.payload).await;
            let clients = shared(open_all(&addresses, PIPELINED.0, open).await);
            load::run(clients, time, &pids).await
        }
        Kind::Pipelined1 => {
            let open = async |address: &str| Oarlock::writer(address, options.payload).await;
            let connections = open_all(&addresses, PIPELINED.0, open).await;
            let sessions = connections
                .into_iter()
                .map(|one| one.with_depth(PIPELINED.1));
            load::run(sessions.collect(), time, &pids).await
        }
        Kind::Reads => {
            let open = async |address: &str| Oarlock::reader(address).await;
            load::run(open_all(&addresses, READERS, open).await, time, &pids).await
        }
    }
}

async fn ask_etcd(options: &Options, cluster: &Etcd, kind: Kind) -> Turn {
    let (addresses, pids) = (cluster.addresses(options.spread), cluster.pids());
    let write = async |address: &str| Etcd::writer(address, KEYS, options.payload).await;
    let clients = match kind {
        Kind::Writes(connections) => open_all(&addresses, connections, write).await,
        Kind::Pipelined | Kind::Pipelined1 => {
            shared(open_all(&addresses, PIPELINED.0, write).await)
        }
        Kind::Reads => {
            let open = async |address: &str| Etcd::reader(address, KEYS).await;
            open_all(&addresses, READERS, open).await
        }
    };
    load::run(clients, options.turn(), &pids).await
}

/// Connections to the addresses in turn.
async fn open_all<C>(
    addresses: &[String],
    count: usize,
    open: impl AsyncFn(&str) -> Result<C, String>,
) -> Vec<C> {
    let mut clients = Vec::new();
    for address in addresses.iter().cycle().take(count) {
        clients.push(open(address).await.unwrap_or_else(|why| panic!("{why}")));
    }
    clients
}

/// As many clients on each connection as requests may be in flight there.
fn shared<C: Session + Clone>(connections: Vec<C>) -> Vec<C> {
    connections
        .iter()
        .flat_map(|connection| std::iter::repeat_n(connection, PIPELINED.1).cloned())
        .collect()
}

fn tell(report: &mut Report, kind: Kind, ours: &[Turn], theirs: &[Turn]) {
    let (name, target) = match kind {
        Kind::Writes(connections) => {
            let target = if connections == 1000 {
                Target::AtLeast(WRITES_TARGET)
            } else {
                Target::None
            };
            (format!("puts, {connections} connections"), target)
        }
        Kind::Pipelined => (
            format!("puts, {} × {} in flight, HTTP/2", PIPELINED.0, PIPELINED.1),
            Target::AtLeast(PIPELINED_TARGET),
        ),
        Kind::Pipelined1 => (
            format!(
                "puts, {} × {} in flight, HTTP/1.1",
                PIPELINED.0, PIPELINED.1
            ),
            Target::AtLeast(PIPELINED_TARGET),
        ),
        Kind::Reads => (
            format!("linearizable reads, {READERS} connections"),
            Target::AtLeast(READS_TARGET),
        ),
    };
    report.load(&name, ours, theirs, target);
    let all = Turn::merged(ours);
    if let Kind::Writes(1000) = kind {
        let per_sync = all.tally.done() as f64 / all.syncs.max(1) as f64;
        report.against(
            "commands made durable by one sync, 1000 connections",
            per_sync,
            PER_SYNC_TARGET,
            "commands",
        );
    }
}

/// One connection against what the disk alone takes.
fn tell_single(report: &mut Report, ours: &[Turn], plain: Duration) {
    let (factor, more) = SINGLE_TARGET;
    let plain = plain.as_secs_f64() * 1e6;
    report.line("  meanwhile: append 4 KiB + fdatasync, p50", plain, "µs");
    let p50 = Turn::merged(ours).tally.latencies.quantile_us(0.5) as f64;
    let name = "  p50, against 1.3 × that + 200 µs";
    report.duel(name, p50, plain * factor + more, "µs", Target::AtMost(1.0));
}
