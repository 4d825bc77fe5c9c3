//! `oarlock doctor` on real nodes: conditions that are planted by what happens to nodes, and found with their remedies. Those
//! that can't be planted cheaply are in `doctor::tests` of the binary, which checks all of them on facts.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use oarlock_tests::process::{
    Cluster, Node, QUICK, SecuredCluster, WallClocks, apply_somewhere, cert, eventually, run, text,
};
use serde_json::{Value, json};

/// What depends on the machine that runs the tests, and not on the cluster.
const OF_MACHINE: [&str; 5] = [
    "disk-space-low",
    "disk-files-low",
    "disk-slow",
    "process-memory-high",
    "leader-changes",
];

/// A report, and the exit code.
struct Report {
    code: Option<i32>,
    value: Value,
}

impl Report {
    fn of(args: &[&str]) -> Self {
        let output = run([&["doctor", "--json", "--timeout-ms", "5000"], args].concat());
        let value = serde_json::from_slice(&output.stdout);
        Self {
            code: output.status.code(),
            value: value.unwrap_or_else(|error| panic!("{error}: {}", text(&output))),
        }
    }

    fn online(nodes: &[Node]) -> Self {
        let addresses: Vec<String> = nodes.iter().map(|node| node.http().0).collect();
        Self::of(&["--endpoints", &addresses.join(",")])
    }

    fn offline(dir: &Path) -> Self {
        Self::of(&["--data-dir", dir.to_str().expect("text")])
    }

    /// The names of the checks that found something which is not of the machine.
    fn checks(&self) -> Vec<&str> {
        let findings = self.value["findings"].as_array().expect("findings");
        let names = findings.iter().map(|finding| finding["check"].as_str());
        names
            .map(|name| name.expect("a name"))
            .filter(|name| !OF_MACHINE.contains(name))
            .collect()
    }

    fn find(&self, check: &str) -> Option<&Value> {
        let findings = self.value["findings"].as_array().expect("findings");
        findings.iter().find(|finding| finding["check"] == check)
    }

    /// The finding of a check, which must exist.
    #[track_caller]
    fn finding(&self, check: &str) -> &Value {
        self.find(check)
            .unwrap_or_else(|| panic!("no {check}: {:#}", self.value["findings"]))
    }
}

/// Examines until a check finds something.
async fn found(nodes: &[Node], check: &str) -> Report {
    eventually(check, async || {
        let report = Report::online(nodes);
        report.find(check).is_some().then_some(report)
    })
    .await
}

async fn all_ready(nodes: &[Node]) {
    for node in nodes {
        eventually("the node is ready", async || {
            (node.http().get("/readyz").await.ok()?.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_voters_cost_the_margin_then_the_majority_and_a_backup_is_remembered() {
    let mut cluster = Cluster::start(3, "counter", &QUICK);
    cluster.leader().await;
    all_ready(&cluster.nodes).await;
    cluster.converged().await;
    let healthy = Report::online(&cluster.nodes);
    assert_eq!(healthy.checks(), ["no-backup"]);
    let nodes = healthy.value["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| node["facts"]["status"].is_object()));

    let backup = cluster.dir().join("cluster.backup");
    let endpoint = cluster.nodes[0].http().0;
    let made = run([
        "backup",
        backup.to_str().expect("text"),
        "--endpoints",
        &endpoint,
    ]);
    assert!(made.status.success(), "{}", text(&made));
    eventually("the backup is remembered", async || {
        Report::online(&cluster.nodes)
            .checks()
            .is_empty()
            .then_some(())
    })
    .await;

    // For people, and with one endpoint: the node names the others.
    let shown = run(["doctor", "--endpoints", &endpoint]);
    let shown = text(&shown);
    assert!(shown.contains("3 of 3 nodes examined"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "colours in a pipe: {shown}");

    cluster.nodes[2].kill();
    // If it was the leader, there is none for a moment.
    let margin = eventually("the other two have a leader", async || {
        let report = Report::online(&cluster.nodes);
        (report.code == Some(4) && report.find("no-margin").is_some()).then_some(report)
    })
    .await;
    assert_eq!(margin.finding("no-margin")["nodes"], json!(["node3"]));
    assert_eq!(
        margin.finding("node-unreachable")["nodes"],
        json!(["node3"])
    );

    cluster.nodes[1].kill();
    let lost = found(&cluster.nodes, "quorum-lost").await;
    assert_eq!(lost.code, Some(1));
    let quorum = lost.finding("quorum-lost");
    assert_eq!(quorum["severity"], "critical");
    let seen = quorum["seen"].as_str().expect("text");
    assert!(seen.starts_with("1 of 3 voters respond"), "{seen}");
    assert_eq!(lost.value["severity"], "critical");

    cluster.nodes[0].kill();
    let silent = Report::online(&cluster.nodes);
    assert_eq!(silent.code, Some(3), "{:#}", silent.value);

    cluster.nodes[0].start();
    cluster.nodes[1].start();
    cluster.leader().await;
    all_ready(&cluster.nodes[..2]).await;
    let back = Report::online(&cluster.nodes);
    assert!(back.find("quorum-lost").is_none(), "{:#}", back.value);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_were_removed_or_make_no_progress_are_found() {
    let mut cluster = Cluster::start(3, "counter", &QUICK);
    cluster.leader().await;
    all_ready(&cluster.nodes).await;
    let at = cluster.join();
    let waiting = found(&cluster.nodes, "waits-to-be-added").await;
    let waits = waiting.finding("waits-to-be-added");
    assert_eq!(waits["nodes"], json!(["node4"]));
    let added = json!({"node_id": "node4", "peer_addr": cluster.nodes[at].peer_addr()});
    let http = cluster.nodes[0].http();
    let changed = http.send("POST", "/v1/members", &[], added.to_string());
    assert_eq!(changed.await.expect("a response").status, 200);
    let ready = found(&cluster.nodes, "learner-ready").await;
    let promote = &ready.finding("learner-ready")["commands"][0];
    assert_eq!(promote, "oarlock members promote node4");

    cluster.nodes[at].kill();
    let command = r#"{"add":{"by":1}}"#;
    cluster.apply_somewhere("one", command).await;
    let stalled = found(&cluster.nodes, "learner-stalled").await;
    let learner = stalled.finding("learner-stalled");
    assert_eq!(learner["nodes"], json!(["node4"]));
    let seen = learner["seen"].as_str().expect("text");
    assert!(seen.contains("not connected"), "{seen}");

    cluster.nodes[at].start();
    let http = cluster.nodes[0].http();
    let removed = http.send("DELETE", "/v1/members/node4", &[], "");
    assert_eq!(removed.await.expect("a response").status, 200);
    let removed = found(&cluster.nodes, "removed-node").await;
    assert_eq!(removed.finding("removed-node")["nodes"], json!(["node4"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_others_can_read_and_a_voter_without_copies_are_found() {
    let mut cluster = Cluster::start(1, "counter", &QUICK);
    cluster.leader().await;
    all_ready(&cluster.nodes).await;
    let dir = cluster.nodes[0].data_dir().to_owned();
    let alone = Report::online(&cluster.nodes);
    assert!(alone.find("few-voters").is_some(), "{:#}", alone.value);
    assert!(alone.find("data-directory-exposed").is_none());

    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("a mode");
    let exposed = Report::online(&cluster.nodes);
    let seen = exposed.finding("data-directory-exposed")["seen"].to_string();
    assert!(seen.contains("0755"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_found_by_the_nodes_and_by_the_one_who_asks_them() {
    let mut cluster = Cluster::prepare(3, "counter", &QUICK);
    let clocks = WallClocks::of(&mut cluster);
    cluster.nodes.iter_mut().for_each(Node::start);
    let leader = cluster.leader().await;
    all_ready(&cluster.nodes).await;
    let wrong = (leader + 1) % 3;
    let id = cluster.nodes[wrong].id().to_owned();
    clocks.set_ahead_ms(wrong, 3_600_000);
    let skewed = found(&cluster.nodes, "clock-skewed").await;
    assert_eq!(skewed.finding("clock-skewed")["nodes"], json!([id]));
    assert!(skewed.find("clocks-apart").is_some(), "{:#}", skewed.value);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_guest_and_refused_peers_are_found_while_they_are_recent() {
    let mut cluster = Cluster::start(1, "faulty", &QUICK);
    cluster.leader().await;
    all_ready(&cluster.nodes).await;
    let http = cluster.nodes[0].http();
    let half = r#"{"half":{"by":5}}"#;
    // The counters begin with the first sample after the node has caught up.
    let report = eventually("failures are counted", async || {
        let failed = http.apply(half).await.ok()?;
        assert_eq!(failed.status, 500, "{failed:?}");
        let report = Report::online(&cluster.nodes);
        report.find("guest-fails").is_some().then_some(report)
    })
    .await;
    let commands = &report.finding("guest-fails")["commands"];
    assert_eq!(commands[0], "oarlock logs --source guest --level warn");

    let mut stranger = TcpStream::connect(cluster.nodes[0].peer_addr()).expect("it listens");
    stranger.write_all(&[0xff; 64]).expect("written");
    let refused = found(&cluster.nodes, "peers-refused").await;
    assert_eq!(refused.finding("peers-refused")["nodes"], json!(["node1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_at_a_lower_level_than_its_nodes_is_found() {
    let mut cluster = Cluster::prepare_level_0(&QUICK);
    cluster.nodes.truncate(1);
    cluster.nodes[0].start();
    cluster.leader().await;
    all_ready(&cluster.nodes).await;
    let report = Report::online(&cluster.nodes);
    let level = report.finding("level-low");
    assert_eq!(level["commands"][0], "oarlock settings raise-level");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_expire_are_found_and_a_role_is_needed() {
    let mut secured = SecuredCluster::prepare();
    let certs = secured.certs.clone();
    cert(&certs, &["client", "watch", "--roles", "monitor"]);
    // An authority and a certificate that expire soon.
    let soon = secured.cluster.dir().join("soon");
    cert(&soon, &["ca", "--cluster-id", "prod", "--days", "10"]);
    cert(&soon, &["node", "node1", "--days", "5"]);
    let node = soon.join("node1");
    secured.cluster.nodes.iter_mut().for_each(Node::start);

    let endpoints = secured.endpoints();
    let (ann, watch) = (secured.path("ann"), secured.path("watch"));
    eventually("nothing is wrong with the certificates", async || {
        let report = Report::of(&["--endpoints", &endpoints, "--certs-dir", &ann]);
        (report.checks() == ["no-backup"]).then_some(())
    })
    .await;
    let denied = Report::of(&["--endpoints", &endpoints, "--certs-dir", &watch]);
    assert_eq!(denied.code, Some(4), "{:#}", denied.value);
    let seen = denied.finding("not-examined")["seen"].to_string();
    assert!(seen.contains("forbidden"), "{seen}");

    secured.cluster.nodes.iter_mut().for_each(Node::kill);
    let dir = secured.cluster.nodes[0].data_dir();
    let (dir, node) = (dir.to_str().expect("text"), node.to_str().expect("text"));
    let report = Report::of(&["--data-dir", dir, "--certs-dir", node]);
    assert_eq!(report.code, Some(1), "{:#}", report.value);
    let seen = report.finding("certificate-expires")["seen"].to_string();
    assert!(seen.contains("node.crt"), "{seen}");
    assert!(report.find("authority-expires").is_some());
}

/// Overwrites bytes in the middle of a file.
fn damage(file: &Path) {
    let mut bytes = fs::read(file).expect("a file");
    let middle = bytes.len() / 2;
    for byte in &mut bytes[4096..middle + 4096] {
        *byte ^= 0x55;
    }
    fs::write(file, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_a_stopped_node_is_examined() {
    let mut cluster = Cluster::start(1, "counter", &QUICK);
    cluster.leader().await;
    all_ready(&cluster.nodes).await;
    let targets = [cluster.nodes[0].http()];
    apply_somewhere(&targets, "one", r#"{"add":{"by":1}}"#).await;
    let dir = cluster.nodes[0].data_dir().to_owned();
    assert_eq!(Report::offline(&dir).checks(), ["directory-in-use"]);
    cluster.nodes[0].kill();
    assert_eq!(Report::offline(&dir).checks(), Vec::<&str>::new());

    let at = |name: &str| cluster.dir().join(name);
    assert_eq!(Report::offline(&at("no")).checks(), ["directory-missing"]);
    fs::write(at("file"), "x").expect("written");
    assert_eq!(
        Report::offline(&at("file")).checks(),
        ["directory-is-a-file"]
    );
    fs::create_dir(at("empty")).expect("a directory");
    fs::set_permissions(at("empty"), fs::Permissions::from_mode(0o700)).expect("a mode");
    assert_eq!(Report::offline(&at("empty")).checks(), ["directory-empty"]);

    let records = [
        (
            "quarantine.json",
            r#"{"quarantined":true,"since_ms":[]}"#,
            "stopped-in-quarantine",
        ),
        ("quarantine.json", "{", "directory-unreadable"),
        ("writes-stopped", "7", "stopped-without-majority"),
        (
            "decisions.json",
            r#"{"entries":[{"index":4,"commands":"ab","successor":null}]}"#,
            "decisions-pending",
        ),
    ];
    for (name, content, check) in records {
        let before = fs::read(dir.join(name)).ok();
        fs::write(dir.join(name), content).expect("written");
        assert_eq!(Report::offline(&dir).checks(), [check]);
        match before {
            Some(before) => fs::write(dir.join(name), before).expect("written"),
            None => fs::remove_file(dir.join(name)).expect("removed"),
        }
    }

    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("a mode");
    assert_eq!(Report::offline(&dir).checks(), ["data-directory-exposed"]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("a mode");

    damage(&dir.join("raft.redb"));
    let corrupt = Report::offline(&dir);
    assert_eq!(corrupt.checks(), ["directory-corrupt"]);
    assert_eq!(corrupt.code, Some(1));
    let shown = run(["doctor", "--data-dir", dir.to_str().expect("text")]);
    let shown = text(&shown);
    assert!(
        shown.contains("--repair") && shown.contains("oarlock verify"),
        "{shown}"
    );
}
