//! `oarlock archive` and `oarlock restore --archive` with real processes: an archive that is written while clients write, nodes are killed
//! and the archiver is killed has every entry, and each point of it is restored as it was.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oarlock_client::ApplyOptions;
use oarlock_tests::process::kv::{put, read};
use oarlock_tests::process::{
    Cluster, Http, Node, NodeOptions, QUICK, SecuredCluster, apply_somewhere, cert, eventually,
    fail, free_ports, noted, oarlock, run, succeed, text,
};
use serde_json::{Value, json};

fn endpoints(cluster: &Cluster) -> String {
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.http().0).collect();
    addresses.join(",")
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// `oarlock archive --json` in the background; killed when dropped.
struct Archiver {
    child: Child,
    out: PathBuf,
}

impl Archiver {
    fn start(dir: &Path, endpoints: &str, number: usize) -> Self {
        let out = dir.with_extension(format!("{number}.jsonl"));
        let child = Command::new(oarlock())
            .args(["archive", shown(dir), "--json", "--segment-bytes", "1024"])
            .args(["--endpoints", endpoints])
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("a file"))
            .stderr(File::create(dir.with_extension(format!("{number}.err"))).expect("a file"))
            .spawn();
        Self {
            child: child.expect("oarlock starts"),
            out,
        }
    }

    /// The complete lines that it has printed.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).expect("a file");
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = complete.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Waits until an event of this kind fulfils a condition, and returns it.
    async fn event(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(kind, async || {
            let events = self.events();
            let mut found = events.into_iter().rev();
            found.find(|event| event["event"] == kind && fits(event))
        })
        .await
    }

    /// Waits until the node from which it receives entries is another one than this.
    async fn has_left(&self, endpoint: &Value) {
        eventually("another node sends", async || {
            let events = self.events();
            let latest = events.iter().rfind(|event| event["event"] == "connected");
            (latest?["endpoint"] != *endpoint).then_some(())
        })
        .await;
    }

    /// Waits until it has this entry.
    async fn has(&self, index: u64) {
        self.event("archived", |event| event["index"].as_u64() >= Some(index))
            .await;
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.expect("kill").success());
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes `k1`, `k2`, … one after the other, each with a key of its own.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    /// What nodes have told between two commands.
    samples: Arc<Mutex<Vec<Sample>>>,
    task: tokio::task::JoinHandle<()>,
}

/// The state of a node at one entry.
#[derive(Clone, Debug)]
struct Sample {
    index: u64,
    hash: String,
    /// The last key that is written in it.
    written: u64,
}

impl Load {
    fn start(targets: Vec<Http>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let samples = Arc::new(Mutex::new(Vec::new()));
        let (until, count, taken) = (
            Arc::clone(&stop),
            Arc::clone(&acknowledged),
            Arc::clone(&samples),
        );
        let task = tokio::spawn(async move {
            while !until.load(Ordering::Acquire) {
                let n = count.load(Ordering::Acquire) + 1;
                apply_somewhere(&targets, &format!("key{n}"), &put(&format!("k{n}"), "v")).await;
                count.store(n, Ordering::Release);
                for target in &targets {
                    // A node that lags has not executed the last command yet.
                    let Some(status) = target.status().await else {
                        continue;
                    };
                    let is_there = target
                        .query(json!({"get": {"key": format!("k{n}")}}).to_string())
                        .await;
                    let again = target.status().await.unwrap_or_default();
                    let is_there = is_there.is_ok_and(|response| response.status == 200);
                    if is_there && status["applied_index"] == again["applied_index"] {
                        let sample = Sample {
                            index: status["applied_index"].as_u64().expect("an index"),
                            hash: status["state_hash"].as_str().expect("a hash").to_owned(),
                            written: n,
                        };
                        taken.lock().expect("no panic").push(sample);
                        break;
                    }
                }
            }
        });
        Self {
            stop,
            acknowledged,
            samples,
            task,
        }
    }

    async fn grows_by(&self, more: u64) {
        let before = self.acknowledged.load(Ordering::Acquire);
        eventually("commands are acknowledged", async || {
            (self.acknowledged.load(Ordering::Acquire) >= before + more).then_some(())
        })
        .await;
    }

    /// Ends it. Returns the samples, and the last key that was written.
    async fn end(self) -> (Vec<Sample>, u64) {
        self.stop.store(true, Ordering::Release);
        self.task.await.expect("the load ends");
        let samples = self.samples.lock().expect("no panic").clone();
        (samples, self.acknowledged.load(Ordering::Acquire))
    }
}

/// `oarlock restore --archive`, which must succeed; its JSON.
fn restore(archive: &Path, more: &[&str]) -> Value {
    let args = [&["restore", "--archive", shown(archive), "--json"], more].concat();
    serde_json::from_str(&succeed(&args)).expect("JSON")
}

/// Shows what would be restored.
fn dry_run(archive: &Path, point: &[&str]) -> Value {
    restore(archive, &[point, &["--dry-run"]].concat())
}

/// The node of a restored cluster.
fn started(cluster: &mut Cluster, dir: &Path, peer_addr: String, port: u16) -> Node {
    let mut node = Node::new(NodeOptions {
        id: "new1".to_owned(),
        peer_addr,
        client_addr: format!("127.0.0.1:{port}"),
        cluster: String::new(),
        data_dir: dir.to_owned(),
        args: cluster.nodes[0].options_mut().args.clone(),
        within: Vec::new(),
    });
    node.start();
    node
}

/// Restores a point, and starts the node of the new cluster.
fn restored(cluster: &mut Cluster, archive: &Path, point: &[&str], name: &str) -> (Node, Value) {
    let dir = cluster.dir().join(name);
    let ports = free_ports(2);
    let peer_addr = format!("127.0.0.1:{}", ports[0]);
    let into = [
        "--data-dir",
        shown(&dir),
        "--node-id",
        "new1",
        "--peer-addr",
        &peer_addr,
    ];
    let made = restore(archive, &[point, &into].concat());
    (started(cluster, &dir, peer_addr.clone(), ports[1]), made)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_survives_kills_under_load_and_each_point_is_restored() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    let targets: Vec<Http> = cluster.nodes.iter().map(Node::http).collect();
    let all = endpoints(&cluster);
    let archive = cluster.dir().join("archive");
    let first = apply_somewhere(&targets, "first", &put("first", "1")).await;
    let mut archiver = Archiver::start(&archive, &all, 1);
    archiver.event("connected", |_| true).await;
    let load = Load::start(targets.clone());
    load.grows_by(10).await;

    // The node that sends dies: another one goes on.
    let endpoint = archiver.event("connected", |_| true).await["endpoint"].clone();
    let at = cluster
        .nodes
        .iter()
        .position(|node| endpoint == node.http().0.as_str());
    let at = at.expect("one of the nodes");
    cluster.nodes[at].kill();
    archiver.has_left(&endpoint).await;
    load.grows_by(5).await;
    let index = cluster.nodes[(at + 1) % 3]
        .http()
        .status()
        .await
        .expect("a status");
    archiver
        .has(index["applied_index"].as_u64().expect("an index"))
        .await;
    cluster.nodes[at].start();

    // The archiver dies, and another one goes on. Two at a time are refused.
    let refused = fail(
        &["archive", shown(&archive), "--once", "--endpoints", &all],
        1,
    );
    assert!(refused.contains("in use"), "{refused}");
    archiver.child.kill().expect("it runs");
    archiver.child.wait().expect("it ends");
    load.grows_by(5).await;
    archiver = Archiver::start(&archive, &all, 2);
    archiver.event("connected", |_| true).await;
    load.grows_by(5).await;
    let (samples, last) = load.end().await;
    a_node_that_is_silent_is_left(&cluster, &archiver).await;
    archiver.signal("INT");
    assert!(archiver.child.wait().expect("it ends").success());
    archiver.event("stopped", |_| true).await;

    // What is acknowledged before is there.
    let caught_up = succeed(&[
        "archive",
        shown(&archive),
        "--once",
        "--json",
        "--endpoints",
        &all,
    ]);
    assert!(caught_up.contains("caught_up"), "{caught_up}");
    let verified: Value =
        serde_json::from_str(&succeed(&["verify", shown(&archive), "--json"])).expect("JSON");
    assert_eq!(
        verified["ranges"].as_array().expect("ranges").len(),
        1,
        "{verified}"
    );
    assert!(verified["segments"].as_u64() > Some(1), "{verified}");
    let mut sent = 0;
    for node in &cluster.nodes {
        sent += node
            .metric("oarlock_archive_entries_sent_total")
            .await
            .expect("a metric");
    }
    assert!(sent > 0);

    // Every sampled state is restored as it was.
    assert!(samples.len() > 4, "{samples:?}");
    let from = verified["ranges"][0]["from"]["index"]
        .as_u64()
        .expect("an index");
    let known: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.index >= from)
        .collect();
    let middle = known[known.len() / 2];
    for sample in [middle, known[known.len() - 1]] {
        let point = dry_run(&archive, &["--to-index", &sample.index.to_string()]);
        assert_eq!(
            point["state_hash"],
            sample.hash.as_str(),
            "{sample:?}: {point}"
        );
    }
    the_time_of_the_log_names_the_last_entry_that_is_not_later(&archive, middle);
    points_that_are_not_there_are_refused(&archive);
    the_restored_cluster_is_another_one(&mut cluster, &archive, middle, last, first).await;
}

/// As after a cut of the network: the connection stays, and nothing comes.
async fn a_node_that_is_silent_is_left(cluster: &Cluster, archiver: &Archiver) {
    let connected = archiver.event("connected", |_| true).await["endpoint"].clone();
    let (silent, others): (Vec<&Node>, Vec<&Node>) = cluster
        .nodes
        .iter()
        .partition(|node| connected == node.http().0.as_str());
    silent[0].signal("STOP");
    archiver.has_left(&connected).await;
    let targets: Vec<Http> = others.iter().map(|node| node.http()).collect();
    apply_somewhere(&targets, "cut", &put("cut", "1")).await;
    let status = eventually("a node responds", async || targets[0].status().await).await;
    archiver
        .has(status["applied_index"].as_u64().expect("an index"))
        .await;
    silent[0].signal("CONT");
}

fn the_time_of_the_log_names_the_last_entry_that_is_not_later(archive: &Path, sample: &Sample) {
    let point = dry_run(archive, &["--to-index", &sample.index.to_string()]);
    let time = point["time_ms"].as_u64().expect("a time");
    let by_time = dry_run(archive, &["--to-time", &time.to_string()]);
    assert_eq!(by_time["time_ms"], time);
    assert!(by_time["index"].as_u64() >= Some(sample.index), "{by_time}");
    let before = dry_run(archive, &["--to-time", &(time - 1).to_string()]);
    assert!(before["time_ms"].as_u64() < Some(time), "{before}");
    assert!(before["index"].as_u64() < Some(sample.index), "{before}");
    // The next entry is later.
    let next = by_time["index"].as_u64().expect("an index") + 1;
    let next = dry_run(archive, &["--to-index", &next.to_string()]);
    assert!(next["time_ms"].as_u64() > Some(time), "{next}");
}

fn points_that_are_not_there_are_refused(archive: &Path) {
    for point in [
        ["--to-index", "999999999"],
        ["--to-index", "0"],
        ["--to-time", "1000"],
        ["--to-time", "2100-01-01T00:00:00Z"],
    ] {
        let dir = archive.with_extension("none");
        let into = [
            "restore",
            "--archive",
            shown(archive),
            "--data-dir",
            shown(&dir),
        ];
        let refused = fail(&[&into[..], &point].concat(), 1);
        assert!(refused.contains("What can be: entries"), "{refused}");
        assert!(!dir.exists());
    }
    let unclear = run([
        "restore",
        "--archive",
        shown(archive),
        "--to-time",
        "yesterday",
    ]);
    assert_eq!(unclear.status.code(), Some(2), "{}", text(&unclear));
}

async fn the_restored_cluster_is_another_one(
    cluster: &mut Cluster,
    archive: &Path,
    middle: &Sample,
    last: u64,
    first: Value,
) {
    let index = middle.index.to_string();
    let (node, made) = restored(cluster, archive, &["--to-index", &index], "new");
    assert_eq!(made["state_hash"], middle.hash.as_str());
    let http = node.http();
    assert_eq!(read(&http, "k1").await, "v");
    assert_eq!(read(&http, &format!("k{}", middle.written)).await, "v");
    assert_eq!(read(&http, &format!("k{last}")).await, Value::Null);
    // A key from before the point has its first reply, also with a command that would have another one now.
    let only = std::slice::from_ref(&http);
    assert_eq!(
        apply_somewhere(only, "first", &put("first", "1")).await,
        first
    );
    let kept = apply_somewhere(
        only,
        &format!("key{}", middle.written),
        &put(&format!("k{}", middle.written), "v"),
    )
    .await;
    assert_eq!(kept["previous"], Value::Null);
    // One from after it is new.
    apply_somewhere(only, "other", &put(&format!("k{last}"), "other")).await;
    let new = apply_somewhere(only, &format!("key{last}"), &put(&format!("k{last}"), "v")).await;
    assert_eq!(new["previous"], "other");

    // No node of the old cluster joins it, and the archive does not take its entries.
    let body = json!({"node_id": "node3", "peer_addr": cluster.nodes[2].peer_addr()});
    let added = http
        .send("POST", "/v1/members", &[], body.to_string())
        .await;
    if added.expect("a response").status == 200 {
        eventually("the new cluster reports another lineage", async || {
            node.log().contains("lineage").then_some(())
        })
        .await;
    }
    let refused = fail(
        &["archive", shown(archive), "--once", "--endpoints", &http.0],
        1,
    );
    assert!(refused.contains("lineage"), "{refused}");
    assert_eq!(
        read(&cluster.nodes[2].http(), &format!("k{last}")).await,
        "v"
    );
}

/// A value so large that entries are sent in several pieces.
fn large(key: &str) -> String {
    put(key, &"x".repeat(300_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_away_shows_its_lag_and_goes_on_also_past_a_snapshot() {
    let flags = [
        &QUICK[..],
        &["--max-log-entries", "200", "--snapshot-threshold", "100"],
    ]
    .concat();
    let mut cluster = Cluster::start(1, "kv", &flags);
    cluster.leader().await;
    let all = endpoints(&cluster);
    let archive = cluster.dir().join("archive");
    let once = |json: &[&str]| {
        succeed(
            &[
                &["archive", shown(&archive), "--once", "--endpoints", &all],
                json,
            ]
            .concat(),
        )
    };
    once(&[]);
    for n in 0..12 {
        cluster
            .apply_somewhere(&format!("large{n}"), &large(&format!("large{n}")))
            .await;
    }
    let applied = |status: Value| status["applied_index"].as_u64().expect("an index");
    let now = applied(cluster.nodes[0].http().status().await.expect("a status"));
    let archiver = Archiver::start(&archive, &all, 1);
    archiver
        .event("archived", |event| event["lag_entries"].as_u64() > Some(0))
        .await;
    let level = archiver
        .event("archived", |event| event["lag_entries"] == 0)
        .await;
    assert!(level["index"].as_u64() >= Some(now), "{level}");
    assert_eq!(level["lag_ms"], 0);
    archiver.signal("TERM");
    let stopped = archiver.event("stopped", |_| true).await;
    drop(archiver);

    // A snapshot replaces the next entry.
    let next = stopped["index"].as_u64().expect("an index") + 1;
    let mut n = 0;
    loop {
        let status = cluster.nodes[0].http().status().await.expect("a status");
        if status["first_log_index"].as_u64() > Some(next) {
            break;
        }
        n += 1;
        cluster
            .apply_somewhere(&format!("key{n}"), &put(&format!("k{n}"), "v"))
            .await;
    }
    let refused = cluster.nodes[0]
        .http()
        .get(&format!("/v1/entries?from={next}"))
        .await;
    let refused = refused.expect("a response");
    assert_eq!(
        (refused.status, refused.error_code()),
        (410, "compacted".to_owned())
    );
    let events = once(&["--json"]);
    let gap = events
        .lines()
        .find(|line| line.contains("\"gap\""))
        .expect("a gap");
    let gap: Value = serde_json::from_str(gap).expect("JSON");
    assert_eq!(gap["from"], next, "{events}");
    cluster.apply_somewhere("end", &put("end", "1")).await;
    once(&[]);

    // Both parts can be restored, and what is between them is refused.
    let verified = succeed(&["verify", shown(&archive)]);
    assert!(verified.contains("are missing"), "{verified}");
    let before = dry_run(&archive, &["--to-index", &(next - 1).to_string()]);
    assert_eq!(
        before["base_index"].as_u64().map(|base| base < next),
        Some(true),
        "{before}"
    );
    let dir = shown(cluster.dir()).to_owned();
    let missing = fail(
        &[
            "restore",
            "--archive",
            shown(&archive),
            "--to-index",
            &next.to_string(),
            "--data-dir",
            &format!("{dir}/none"),
        ],
        1,
    );
    assert!(missing.contains("What can be"), "{missing}");
    let (node, _) = restored(&mut cluster, &archive, &[], "new");
    assert_eq!(read(&node.http(), "end").await, "1");
    assert_eq!(read(&node.http(), &format!("k{n}")).await, "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_among_the_entries_is_executed_and_a_backup_is_a_base() {
    let mut cluster = Cluster::start(1, "kv", &QUICK);
    cluster.leader().await;
    let all = endpoints(&cluster);
    let (archive, backup) = (
        cluster.dir().join("archive"),
        cluster.dir().join("a.backup"),
    );
    cluster.apply_somewhere("one", &put("k", "before")).await;
    succeed(&["backup", shown(&backup), "--endpoints", &all]);
    let module = cluster.dir().join("second.wasm");
    fs::write(&module, noted("kv", b"second")).expect("writable");
    let once = ["archive", shown(&archive), "--once", "--endpoints", &all];
    succeed(&[&once[..], &["--backup", shown(&backup)]].concat());
    let before = cluster.nodes[0].http().status().await.expect("a status");
    succeed(&["upgrade", shown(&module), "--endpoints", &all]);
    cluster.apply_somewhere("two", &put("k", "after")).await;
    let after = cluster.nodes[0].http().status().await.expect("a status");
    assert_ne!(
        before["state_machine"]["sha256"],
        after["state_machine"]["sha256"]
    );
    succeed(&once);

    let index = before["applied_index"].to_string();
    for from in [&[][..], &[shown(&backup)]] {
        let old = dry_run(&archive, &[from, &["--to-index", &index]].concat());
        assert_eq!(
            old["state_machine"]["sha256"], before["state_machine"]["sha256"],
            "{old}"
        );
        assert_eq!(old["state_hash"], before["state_hash"]);
        let index = after["applied_index"].to_string();
        let new = dry_run(&archive, &[from, &["--to-index", &index]].concat());
        assert_eq!(
            new["state_machine"]["sha256"], after["state_machine"]["sha256"],
            "{new}"
        );
        assert_eq!(new["state_hash"], after["state_hash"]);
    }
    let (node, _) = restored(&mut cluster, &archive, &[], "new");
    assert_eq!(read(&node.http(), "k").await, "after");
    let status = node.http().status().await.expect("a status");
    assert_eq!(
        status["state_machine"]["sha256"],
        after["state_machine"]["sha256"]
    );

    // A second base is not taken by mistake.
    let twice = run([&once[..], &["--backup", shown(&backup)]].concat());
    assert_eq!(twice.status.code(), Some(2), "{}", text(&twice));
    damage_is_removed_or_named(&mut cluster, &archive, &all, &after).await;
}

/// A damaged end is written again, and damage before it is named.
async fn damage_is_removed_or_named(
    cluster: &mut Cluster,
    archive: &Path,
    endpoints: &str,
    known: &Value,
) {
    let once = [
        "archive",
        shown(archive),
        "--once",
        "--endpoints",
        endpoints,
    ];
    let dir = cluster.dir().join("none");
    let to_the_end = [
        "restore",
        "--archive",
        shown(archive),
        "--data-dir",
        shown(&dir),
    ];
    let newest = newest_segment(archive);
    let bytes = fs::read(&newest).expect("a segment");
    fs::write(&newest, &bytes[..bytes.len() - 3]).expect("written");
    let cut = fail(&["verify", shown(archive)], 1);
    assert!(cut.contains("not complete"), "{cut}");
    let refused = fail(&to_the_end, 1);
    assert!(refused.contains("--to-index"), "{refused}");
    succeed(&once);
    succeed(&["verify", shown(archive)]);
    let index = known["applied_index"].to_string();
    let again = dry_run(archive, &["--to-index", &index]);
    assert_eq!(again["state_hash"], known["state_hash"]);

    // In a block of its own.
    cluster.apply_somewhere("three", &put("k", "last")).await;
    succeed(&once);
    let mut wrong = fs::read(&newest).expect("a segment");
    wrong[bytes.len() / 3] ^= 1;
    fs::write(&newest, &wrong).expect("written");
    for refused in [&once[..], &["verify", shown(archive)], &to_the_end] {
        let error = fail(refused, 1);
        assert!(error.contains("is damaged at byte"), "{error}");
    }
    assert!(!dir.exists());
}

fn newest_segment(archive: &Path) -> PathBuf {
    let files = fs::read_dir(archive).expect("a directory");
    let segments = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    segments.max().expect("a segment")
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_only_an_operator_archives() {
    let secured = SecuredCluster::start();
    cert(&secured.certs, &["client", "bob", "--roles", "reader"]);
    let client = secured.client("ann");
    let options = ApplyOptions::default();
    let applied = client.apply(put("a", "1"), &options).await;
    applied.expect("applied");
    let all = secured.endpoints();
    let archive = secured.cluster.dir().join("archive");
    let bob = secured.path("bob");
    let refused = fail(
        &[
            "archive",
            shown(&archive),
            "--once",
            "--endpoints",
            &all,
            "--certs-dir",
            &bob,
        ],
        1,
    );
    assert!(refused.contains("operator"), "{refused}");
    let ann = secured.path("ann");
    succeed(&[
        "archive",
        shown(&archive),
        "--once",
        "--endpoints",
        &all,
        "--certs-dir",
        &ann,
    ]);
    // In an archive that exists, no backup refuses first.
    let refused = fail(
        &[
            "archive",
            shown(&archive),
            "--once",
            "--endpoints",
            &all,
            "--certs-dir",
            &bob,
        ],
        1,
    );
    assert!(refused.contains("operator"), "{refused}");
    succeed(&["verify", shown(&archive)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_at_level_0_has_no_archive() {
    let mut cluster = Cluster::prepare_level_0(&[]);
    cluster.nodes[0].start();
    let http = cluster.nodes[0].http();
    let refused = eventually("the node leads and refuses", async || {
        let response = http.get("/v1/entries?from=1").await.ok()?;
        (response.status == 409).then_some(response)
    })
    .await;
    assert_eq!(refused.error_code(), "level_too_low");
    for wrong in ["from=0", "from=x", "from=1&more=1"] {
        let refused = http
            .get(&format!("/v1/entries?{wrong}"))
            .await
            .expect("a response");
        assert_eq!(
            (refused.status, refused.error_code()),
            (400, "malformed".to_owned())
        );
    }
}
