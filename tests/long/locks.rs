//! The lock service in three languages on three real nodes, whose leader is killed every five seconds: a thousand grants, of
//! which no two overlap. Clients wait through kills, an upgrade and a restart of all nodes, and waiting writes nothing to the
//! log. Before it, `cargo xtask guests --languages` has to build the guests in Python and JavaScript.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oarlock_tests::process::locks::{
    LockClient, acquire, fence, lock, release, send_to_some, send_with_key, until_waiting,
};
use oarlock_tests::process::{
    Cluster, Http, Node, QUICK, apply_somewhere, compile, compile_file, eventually, guest, noted,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

#[path = "upgrade/kit.rs"]
#[allow(dead_code, reason = "the tests of upgrades use more of it")]
mod kit;

const GRANTS: usize = 1_000;
const KILL_EVERY: Duration = Duration::from_secs(5);
/// At least so many, however quick the machine is.
const KILLS: usize = 6;
const CLIENTS: usize = 6;
/// Longer than the test: a lease ends early only where the test wants it.
const LEASE_MS: u64 = 3_600_000;
/// The client with a fence that is a multiple of it does not release the lock: its lease ends.
const ABANDONED: u64 = 50;
/// How long the last client waits in vain, while the log must not grow.
const QUIET_MS: u64 = 3_000;
/// Enough for every language; snapshots often enough that a node which restarts has those who wait from one; and no audits,
/// which write to the log.
const FLAGS: [&str; 10] = [
    "--fuel-per-command",
    "50000000",
    "--fuel-per-query",
    "500000000",
    "--snapshot-threshold",
    "100",
    "--max-log-entries",
    "200",
    "--audit-interval-ms",
    "3600000",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_grants_of_the_lock_service_in_rust() {
    a_thousand_grants("lock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_grants_of_the_lock_service_in_python() {
    a_thousand_grants("lock-python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_grants_of_the_lock_service_in_javascript() {
    a_thousand_grants("lock-js").await;
}

/// What a client got.
struct Grant {
    fence: u64,
    /// Index of the log entry with its command, if the command was sent once.
    index: Option<u64>,
}

/// What the lock protects, and the clients of the lock.
struct Resource {
    targets: Vec<Http>,
    /// The fence of the client that uses it; 0: it is free.
    user: AtomicU64,
    /// In the order in which clients began to use it.
    grants: Mutex<Vec<Grant>>,
    stop: AtomicBool,
}

impl Resource {
    fn grants(&self) -> MutexGuard<'_, Vec<Grant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.grants().len()
    }

    /// Begins to use it.
    fn begin(&self, grant: Grant) {
        let user = self.user.swap(grant.fence, Ordering::AcqRel);
        assert_eq!(user, 0, "{} while {user} holds the lock", grant.fence);
        let mut grants = self.grants();
        let before = grants.last().map_or(0, |grant| grant.fence);
        assert!(grant.fence > before, "{} after {before}", grant.fence);
        grants.push(grant);
    }

    /// Ends the use, before the lock is released.
    fn end(&self, fence: u64) {
        assert_eq!(self.user.swap(0, Ordering::AcqRel), fence);
    }

    /// Waits for the lock with one command, which is sent to this node first.
    async fn acquired(&self, owner: &str, first: usize) -> Grant {
        let mut targets = self.targets.clone();
        targets.rotate_left(first % self.targets.len());
        let command = acquire(owner, LEASE_MS, LEASE_MS);
        let (response, sent) = send_to_some(&targets, owner, &command).await;
        let index = response.header("oarlock-index").parse();
        let index = index.expect("a reply of the guest has an index");
        Grant {
            fence: fence(&response),
            index: (sent == 1).then_some(index),
        }
    }

    /// Acquires and releases the lock again and again.
    async fn work(self: Arc<Self>, client: usize) {
        for round in 0.. {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            // Another owner each time: one that has abandoned the lock would get it again.
            let owner = format!("client-{client}-{round}");
            let grant = self.acquired(&owner, client + round).await;
            let fence = grant.fence;
            self.begin(grant);
            self.end(fence);
            if fence.is_multiple_of(ABANDONED) {
                let renew = json!({"renew": {"lock": "l", "fence": fence, "lease_ms": 100}});
                let key = format!("renew-{fence}");
                apply_somewhere(&self.targets, &key, &renew.to_string()).await;
            } else {
                release(&self.targets, fence).await;
            }
        }
    }

    /// Those who sent their command once got the lock in the order of their entries.
    fn check_order(&self) {
        let grants = self.grants();
        let known: Vec<(u64, u64)> = grants
            .iter()
            .filter_map(|grant| Some((grant.index?, grant.fence)))
            .collect();
        assert!(
            known.len() > GRANTS / 2,
            "only {} of {} commands were sent once",
            known.len(),
            grants.len()
        );
        // Commands of one batch are in one entry.
        assert!(
            known.is_sorted_by_key(|(index, _)| index),
            "not in their order (index, fence): {known:?}"
        );
    }
}

async fn a_thousand_grants(name: &str) {
    compile(&[name]);
    let next = noted(name, b"the next build");
    let file = tempfile::NamedTempFile::with_suffix(".wasm").expect("a temporary file");
    std::fs::write(file.path(), &next).expect("it is written");
    compile_file(file.path());

    let mut cluster = Cluster::start(3, name, &[&QUICK[..], &FLAGS].concat());
    cluster.leader().await;
    let resource = Arc::new(Resource {
        targets: targets(&cluster),
        user: AtomicU64::new(0),
        grants: Mutex::default(),
        stop: AtomicBool::new(false),
    });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(Arc::clone(&resource).work(client));
    }
    let before = kill_leaders(&mut cluster, &resource, GRANTS / 2, KILLS / 2).await;
    waiters_survive_an_upgrade_and_a_restart(&mut cluster, &resource, next).await;
    let after = kill_leaders(&mut cluster, &resource, GRANTS, KILLS.div_ceil(2)).await;
    resource.stop.store(true, Ordering::Release);
    while let Some(client) = clients.join_next().await {
        client.expect("a client succeeds");
    }
    resource.check_order();
    println!(
        "{name}: {} grants, {} kills of leaders",
        resource.count(),
        before + after
    );
    waiting_writes_nothing(&mut cluster).await;
    waiters_keep_their_order(&mut cluster, name).await;
}

/// Kills the leader every five seconds, until there are so many grants in all and so many kills. Returns how many kills.
async fn kill_leaders(
    cluster: &mut Cluster,
    resource: &Resource,
    grants: usize,
    kills: usize,
) -> usize {
    let mut killed = 0;
    let mut every = tokio::time::interval(KILL_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.tick().await;
    while killed < kills || resource.count() < grants {
        every.tick().await;
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        killed += 1;
        let before = resource.count();
        eventually("the others grant the lock", async || {
            (resource.count() > before + 1).then_some(())
        })
        .await;
        cluster.nodes[leader].start();
    }
    killed
}

/// While one client holds the lock and all others wait, the guest is upgraded and all nodes are killed. All still wait.
async fn waiters_survive_an_upgrade_and_a_restart(
    cluster: &mut Cluster,
    resource: &Resource,
    next: bytes::Bytes,
) {
    let grant = resource.acquired("holder", 0).await;
    let fence = grant.fence;
    resource.begin(grant);
    let waiting = CLIENTS as u64;
    until_waiting(&resource.targets[0], waiting).await;
    let upgraded = kit::upgrade(&resource.targets, &next).await;
    assert_eq!(upgraded.status, 200, "{upgraded:?}");
    let sha256 = &upgraded.json()["sha256"];
    kit::all_run(cluster, sha256).await;
    until_waiting(&resource.targets[1], waiting).await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.leader().await;
    kit::all_run(cluster, sha256).await;
    until_waiting(&resource.targets[2], waiting).await;
    resource.end(fence);
    release(&resource.targets, fence).await;
}

/// Clients wait, one of them in vain. Meanwhile the log gets one entry: the end of its wait.
async fn waiting_writes_nothing(cluster: &mut Cluster) {
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    eventually("the lock is free", async || {
        lock(&http).await?["lease"].is_null().then_some(())
    })
    .await;
    let held = send_with_key(&http, "last", acquire("last", LEASE_MS, 0)).await;
    let first = fence(&held.expect("a response"));
    let mut waiters = Vec::new();
    for (at, owner) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let node = &cluster.nodes[at % 3];
        waiters.push(LockClient::start(&node.http(), owner, LEASE_MS));
        until_waiting(&http, at as u64 + 1).await;
    }
    let in_vain = tokio::spawn({
        let http = http.clone();
        async move { send_with_key(&http, "vain", acquire("vain", LEASE_MS, QUIET_MS)).await }
    });
    until_waiting(&http, 6).await;
    let before = cluster.converged().await[0]["commit_index"].as_u64();
    let response = in_vain.await.expect("it does not panic");
    assert_eq!(
        response.expect("a response").json(),
        json!({"timed_out": {}})
    );
    let after = cluster.converged().await[0]["commit_index"].as_u64();
    assert_eq!(after, before.map(|index| index + 1), "one entry");
    for (place, waiter) in waiters.into_iter().enumerate() {
        release(&targets(cluster), first + place as u64).await;
        assert_eq!(waiter.fence().await, first + place as u64 + 1);
    }
    release(&targets(cluster), first + 5).await;
    cluster.converged().await;
}

/// Five clients wait in line. Then the guest is upgraded and all nodes are killed, and the clients send their commands again, the
/// last one first: they get the lock in the order in which they came.
async fn waiters_keep_their_order(cluster: &mut Cluster, name: &str) {
    const LINE: [&str; 5] = ["line-a", "line-b", "line-c", "line-d", "line-e"];
    let targets = targets(cluster);
    let command = |owner: &str| acquire(owner, LEASE_MS, LEASE_MS);
    let (held, _) = send_to_some(&targets, "line", &acquire("line", LEASE_MS, 0)).await;
    let first = fence(&held);
    let mut broken = Vec::new();
    for (at, owner) in LINE.into_iter().enumerate() {
        let (http, command) = (targets[at % 3].clone(), command(owner));
        let sending = async move { send_with_key(&http, owner, command).await };
        broken.push(tokio::spawn(sending));
        until_waiting(&targets[0], at as u64 + 1).await;
    }
    // Back to the first build, which is compiled already.
    let module = std::fs::read(guest(name)).expect("a module").into();
    let upgraded = kit::upgrade(&targets, &module).await;
    assert_eq!(upgraded.status, 200, "{upgraded:?}");
    let sha256 = &upgraded.json()["sha256"];
    kit::all_run(cluster, sha256).await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    for waiter in broken {
        let broken = waiter.await.expect("it does not panic");
        broken.expect_err("its node is dead");
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    let leader = cluster.leader().await;
    kit::all_run(cluster, sha256).await;
    until_waiting(&targets[leader], 5).await;

    let mut waiters = Vec::new();
    for owner in LINE.into_iter().rev() {
        let before = applied(&targets[leader]).await;
        let (to, command) = (targets.clone(), command(owner));
        waiters.push(tokio::spawn(async move {
            send_to_some(&to, owner, &command).await.0
        }));
        eventually("the command is in the log again", async || {
            (applied(&targets[leader]).await > before).then_some(())
        })
        .await;
    }
    let still = lock(&targets[leader]).await.expect("a response");
    assert_eq!(still["waiting"], 5, "no client waits twice: {still}");
    waiters.reverse();
    for (place, waiter) in (first..).zip(waiters) {
        release(&targets, place).await;
        let granted = waiter.await.expect("it does not panic");
        assert_eq!(fence(&granted), place + 1);
    }
    cluster.converged().await;
}

/// The last entry that a node has applied.
async fn applied(http: &Http) -> u64 {
    eventually("the node responds", async || {
        http.status().await?["applied_index"].as_u64()
    })
    .await
}

fn targets(cluster: &Cluster) -> Vec<Http> {
    cluster.nodes.iter().map(Node::http).collect()
}
