use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use task_queue_raft::RaftConfig;

use super::cluster::{DemoCluster, DemoPlan};
use super::screen::Screen;
use super::stop::Stop;
use super::{show, tour};
use crate::settings::GuestSource;

/// Nodes with short election timeouts on any free ports.
pub(crate) async fn start(nodes: u16, guest: GuestSource) -> DemoCluster {
    DemoCluster::start(plan(nodes, guest, None)).await.unwrap()
}

fn plan(nodes: u16, guest: GuestSource, data_dir: Option<PathBuf>) -> DemoPlan {
    let raft = RaftConfig {
        election_timeout_min: Duration::from_millis(300),
        election_timeout_max: Duration::from_millis(600),
        heartbeat_interval: Duration::from_millis(75),
        ..RaftConfig::default()
    };
    DemoPlan {
        module_check: None,
        nodes,
        base_port: None,
        guest,
        data_dir,
        raft,
    }
}

/// A guest of the repository.
pub(crate) fn guest(name: &str) -> GuestSource {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples-wasm/dist");
    GuestSource::File(format!("{dist}/{name}.wasm").into())
}

/// The output of the whole tour, as in a pipe.
async fn tour_of(cluster: &mut DemoCluster) -> String {
    let mut printed = Vec::new();
    let mut screen = Screen::new(
        anstream::StripStream::new(&mut printed),
        "oarlock".to_owned(),
    );
    tour::introduce(cluster, &mut screen).unwrap();
    tour::run(cluster, &mut screen).await.unwrap();
    tour::suggest(cluster, &mut screen).unwrap();
    drop(screen);
    String::from_utf8(printed).unwrap()
}

#[track_caller]
fn assert_in_order(text: &str, phrases: &[&str]) {
    let mut rest = text;
    for phrase in phrases {
        let Some(position) = rest.find(phrase) else {
            panic!("{phrase:?} is missing, or too early, in:\n{text}")
        };
        rest = &rest[position + phrase.len()..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_lose_their_leader_and_no_task() {
    let mut cluster = start(3, GuestSource::BuiltInQueue).await;
    let dir = cluster.data_dir().0.to_owned();
    let text = tour_of(&mut cluster).await;
    let phrases = [
        "3 nodes in this process, running task-queue v2",
        "1. The nodes elect a leader",
        "2. 5 tasks are enqueued through",
        r#"$ oarlock apply '{"enqueue":{"queue":"demo","payload":{"task":1}}}' --endpoints 127.0.0.1:"#,
        r#"{"id":5,"duplicate":false}"#,
        "3. One task is reserved",
        "4. node",
        ", the leader, is stopped",
        "the next command was applied",
        "5. No acknowledged task is lost",
        "every acknowledged task is there",
        "is restarted and catches up",
        "the same state hash",
        "$ oarlock status --endpoints",
        "dashboard: http://127.0.0.1:",
    ];
    assert_in_order(&text, &phrases);
    assert!(!text.contains('\u{1b}'), "there are colours in a pipe");
    assert_eq!(cluster.endpoints().len(), 3);
    cluster.shutdown().await.unwrap();
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_guest_gets_the_steps_that_work_for_any() {
    let mut cluster = start(3, guest("kv")).await;
    let text = tour_of(&mut cluster).await;
    let phrases = [
        "running kv v1",
        "elect a leader",
        "is stopped",
        "the other nodes had a new leader",
        "the same state hash",
        r#"{"put":"#,
    ];
    assert_in_order(&text, &phrases);
    assert!(!text.contains("enqueue"), "{text}");
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_is_restarted_with_its_data() {
    let mut cluster = start(1, GuestSource::BuiltInQueue).await;
    let text = tour_of(&mut cluster).await;
    assert_in_order(
        &text,
        &[
            "1 node in this process",
            "the leader, is restarted",
            "every acknowledged task",
        ],
    );
    cluster.shutdown().await.unwrap();
}

/// A reader that closes the pipe after this many lines.
struct Lines(usize);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0 = self
            .0
            .saturating_sub(bytes.iter().filter(|byte| **byte == b'\n').count());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_output_ends_the_demo_without_an_error() {
    let mut cluster = start(1, GuestSource::BuiltInQueue).await;
    let mut screen = Screen::new(Lines(3), "oarlock".to_owned());
    assert_eq!(
        show(&mut cluster, &mut screen, true).await,
        Err(Stop::Closed)
    );
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_an_earlier_tour_are_used_again_on_other_ports_too() {
    let dir = tempfile::tempdir().unwrap();
    let plan = || plan(1, GuestSource::BuiltInQueue, Some(dir.path().to_owned()));
    let mut cluster = DemoCluster::start(plan()).await.unwrap();
    for first_id in [1, 6] {
        let text = tour_of(&mut cluster).await;
        assert_in_order(
            &text,
            &[
                &format!(r#"{{"id":{first_id},"duplicate":false}}"#),
                "every acknowledged task is there",
            ],
        );
    }
    cluster.shutdown().await.unwrap();
    let mut cluster = DemoCluster::start(plan()).await.unwrap();
    let text = tour_of(&mut cluster).await;
    assert_in_order(&text, &[r#"{"id":11,"duplicate":false}"#]);
    cluster.shutdown().await.unwrap();
}
