//! A node is killed at each step of an upgrade, under load: the cluster ends on one module everywhere, with equal states
//! and a history without a gap.

use std::path::Path;

use bytes::Bytes;
use oarlock_tests::process::{Cluster, Http, Node, QUICK, Recorder, eventually, noted};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::kit::{all_run, ask, sha256, told, upgrade};

const CLIENTS: usize = 4;
/// Bytes of a task: a state of some size takes its time to be written and read.
const PADDING: usize = 16 << 10;
/// Many entries in the log.
const NOTE_BYTES: usize = 4 << 20;
/// A step may be over before the blow falls. So often it is tried with another module until one is hit.
const ATTEMPTS: u8 = 8;

/// How far an upgrade is, for one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// Only the node that received the request checks the module.
    Check,
    /// It has begun, and no byte is in the log.
    Begun,
    /// Some bytes are.
    Bytes,
    /// All are, and the node tries a copy of the state.
    Trying,
    /// It has reported that it is ready.
    Ready,
    /// The entry of the switch is committed.
    Activated,
    /// The node itself has switched, and its newest snapshot is of before.
    Switched,
    /// It has a snapshot with the new module.
    Snapshot,
}

/// How far a node reports the upgrade to this module to be for `victim`.
fn step_of(told: &Value, sha256: &str, victim: &str) -> Step {
    if told["history"][0]["sha256"] == *sha256 {
        assert_eq!(told["history"][0]["end"], "activated", "{told:#}");
        return Step::Activated;
    }
    let under_way = &told["upgrade"];
    if under_way["sha256"] != *sha256 {
        return Step::Check;
    }
    let (received, bytes) = (&under_way["received_bytes"], &under_way["bytes"]);
    match under_way["nodes"][victim]["state"].as_str() {
        _ if *received == 0 => Step::Begun,
        _ if received != bytes => Step::Bytes,
        Some("ready") => Step::Ready,
        Some("waiting") => Step::Trying,
        state => panic!("{victim} is {state:?}: {told:#}"),
    }
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Leader,
    Follower,
}

/// An attempt: the node to kill, the other nodes, and the new module.
struct Try<'a> {
    victim: usize,
    stays: usize,
    module: &'a Bytes,
    sha256: &'a str,
}

impl Try<'_> {
    /// Requests the upgrade. Returns once it has reached this step, with the step that was observed.
    async fn reach(&self, cluster: &Cluster, wanted: Step) -> Step {
        let victim = cluster.nodes[self.victim].id();
        if wanted == Step::Check {
            self.ask_and_leave(&cluster.nodes[self.victim].http()).await;
            return Step::Check;
        }
        // Up to the last byte it is the victim who sends them: they stop with it.
        let (asked, watched) = match wanted {
            Step::Check | Step::Begun | Step::Bytes => (self.victim, self.victim),
            Step::Trying | Step::Ready | Step::Activated => (self.stays, self.stays),
            Step::Switched | Step::Snapshot => (self.stays, self.victim),
        };
        // Its response, if there is one, is that of the request that follows.
        drop(ask(cluster.nodes[asked].http(), self.module.clone()));
        let least = wanted.min(Step::Activated);
        let http = cluster.nodes[watched].http();
        let seen = told(&http, "the upgrade comes to that step", |told| {
            let step = step_of(told, self.sha256, victim);
            (step >= least).then_some(step)
        })
        .await;
        if wanted == Step::Snapshot {
            self.snapshot_taken(&http).await;
        }
        seen
    }

    /// Sends the whole request and waits for no response: the node looks at the module now.
    async fn ask_and_leave(&self, victim: &Http) {
        let mut stream = TcpStream::connect(&victim.0).await.expect("it listens");
        let head = format!(
            "POST /v1/state-machine HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
            victim.0,
            self.module.len()
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream.write_all(self.module).await.expect("it reads");
    }

    async fn snapshot_taken(&self, victim: &Http) {
        eventually("the node has a snapshot of after the switch", async || {
            let switched = victim.get("/v1/upgrades").await.ok()?.json();
            let switched = switched["history"][0]["ended_index"].as_u64()?;
            let snapshot = victim.status().await?["snapshot_index"].as_u64()?;
            (snapshot >= switched).then_some(())
        })
        .await;
    }

    /// Whether the blow fell at this step, by what is left of the victim and what the others report.
    async fn was_hit(&self, cluster: &Cluster, wanted: Step, seen: Step) -> bool {
        let (victim, others) = (
            &cluster.nodes[self.victim],
            cluster.nodes[self.stays].http(),
        );
        match wanted {
            Step::Check => {
                let told = others.get("/v1/upgrades").await.expect("it runs").json();
                step_of(&told, self.sha256, victim.id()) == Step::Check
            }
            Step::Switched | Step::Snapshot => {
                // The other one receives it from the next leader at the latest.
                let switched = told(&others, "the switch stands in the history", |told| {
                    let past = &told["history"][0];
                    let index = past["ended_index"].as_u64();
                    index.filter(|_| past["sha256"] == *self.sha256)
                })
                .await;
                (newest_snapshot(victim.data_dir()) >= switched) == (wanted == Step::Snapshot)
            }
            _ => seen == wanted,
        }
    }
}

/// Index of the newest whole snapshot in a data directory, 0 where there is none.
fn newest_snapshot(data_dir: &Path) -> u64 {
    let files = std::fs::read_dir(data_dir.join("snapshots")).expect("snapshots have a place");
    let index = |file: std::io::Result<std::fs::DirEntry>| {
        let name = file.expect("a file").file_name().into_string().ok()?;
        let (index, _) = name.strip_suffix(".snap")?.split_once('-')?;
        index.parse().ok()
    };
    files.filter_map(index).max().unwrap_or(0)
}

/// Kills a node at a step of an upgrade, under load, until one blow has fallen there.
async fn killed_at(step: Step, victim: Victim) {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let targets: Vec<_> = cluster.nodes.iter().map(Node::http).collect();
    let recorder = Recorder::start(CLIENTS, &targets, PADDING);
    recorder.progress(30).await;
    let mut hit = false;
    for attempt in 0..ATTEMPTS {
        let leader = cluster.leader().await;
        let (dies, stays) = match victim {
            Victim::Leader => (leader, (leader + 1) % 3),
            Victim::Follower => ((leader + 1) % 3, leader),
        };
        let module = noted("queue", &vec![attempt; NOTE_BYTES]);
        let sha256 = sha256(&module);
        let trial = Try {
            victim: dies,
            stays,
            module: &module,
            sha256: &sha256,
        };
        let seen = trial.reach(&cluster, step).await;
        cluster.nodes[dies].kill();
        hit = trial.was_hit(&cluster, step, seen).await;
        recorder.progress(10).await;
        cluster.nodes[dies].start();
        let response = upgrade(&[targets[stays].clone()], &module).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.json()["sha256"], sha256, "{response:?}");
        all_run(&cluster, &response.json()["sha256"]).await;
        recorder.progress(10).await;
        if hit {
            break;
        }
        println!("{victim:?} was past {step:?} ({seen:?}) when it was killed; once more");
    }
    assert!(hit, "no blow fell at {step:?}");
    recorder.check(&targets[0]).await;
    cluster.converged().await;
}

macro_rules! killed {
    ($($name:ident: $victim:ident at $step:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            killed_at(Step::$step, Victim::$victim).await;
        }
    )*};
}

killed! {
    a_leader_is_killed_while_it_checks_the_module: Leader at Check;
    a_follower_is_killed_while_it_checks_the_module: Follower at Check;
    a_leader_is_killed_once_the_upgrade_has_begun: Leader at Begun;
    a_follower_is_killed_once_the_upgrade_has_begun: Follower at Begun;
    a_leader_is_killed_between_the_bytes: Leader at Bytes;
    a_follower_is_killed_between_the_bytes: Follower at Bytes;
    a_leader_is_killed_while_it_tries_the_module: Leader at Trying;
    a_follower_is_killed_while_it_tries_the_module: Follower at Trying;
    a_leader_is_killed_after_its_report_that_it_is_ready: Leader at Ready;
    a_follower_is_killed_after_its_report_that_it_is_ready: Follower at Ready;
    a_leader_is_killed_at_the_entry_of_the_switch: Leader at Activated;
    a_follower_is_killed_at_the_entry_of_the_switch: Follower at Activated;
    a_leader_is_killed_between_its_switch_and_the_snapshot_after_it: Leader at Switched;
    a_follower_is_killed_between_its_switch_and_the_snapshot_after_it: Follower at Switched;
    a_leader_is_killed_after_the_snapshot_that_follows_the_switch: Leader at Snapshot;
    a_follower_is_killed_after_the_snapshot_that_follows_the_switch: Follower at Snapshot;
}
