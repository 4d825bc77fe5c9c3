//! Real processes under real faults. The history of their clients is checked: no acknowledged command is lost, no refused
//! command is applied, and the history is linearizable.

use oarlock_tests::process::{
    Cluster, Http, Mount, NetNamespaces, Node, QUICK, Recorder, Unavailable, Wires, eventually, run,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CLIENTS: usize = 4;

fn targets(cluster: &Cluster) -> Vec<Http> {
    cluster.nodes.iter().map(Node::http).collect()
}

/// Waits until these nodes follow one of them, and returns which.
async fn leader_among(cluster: &Cluster, nodes: &[usize]) -> usize {
    eventually("the others have a leader of their own", async || {
        let mut leader = None;
        for &at in nodes {
            let status = cluster.nodes[at].http().status().await?;
            let named = status["leader_id"].as_str()?.to_owned();
            let at = nodes.iter().find(|at| cluster.nodes[**at].id() == named)?;
            if leader.replace(*at).is_some_and(|before| before != *at) {
                return None;
            }
        }
        leader
    })
    .await
}

fn others(count: usize, than: usize) -> Vec<usize> {
    (0..count).filter(|at| *at != than).collect()
}

/// Printed where a fault can't be made on this machine: the test proves nothing then.
fn not_here(what: &str, why: &Unavailable) {
    eprintln!("NOT TESTED HERE: {what}, because it can't be set up: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_linearizable_while_leaders_are_killed() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let recorder = Recorder::start(CLIENTS, &targets(&cluster), 0);
    for _ in 0..3 {
        recorder.progress(20).await;
        let leader = cluster.leader().await;
        cluster.nodes[leader].kill();
        recorder.progress(20).await;
        cluster.nodes[leader].start();
    }
    recorder.progress(20).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[0].http()).await;
}

/// Pauses leaders until other nodes lead, then resumes them.
async fn pause_leaders(cluster: &mut Cluster, recorder: &Recorder) {
    for _ in 0..2 {
        recorder.progress(20).await;
        let leader = cluster.leader().await;
        cluster.nodes[leader].signal("STOP");
        let rest = others(3, leader);
        leader_among(cluster, &rest).await;
        recorder.progress(20).await;
        // It acts as leader until a message of the others arrives.
        cluster.nodes[leader].signal("CONT");
    }
    recorder.progress(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_linearizable_while_leaders_are_paused() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let recorder = Recorder::start(CLIENTS, &targets(&cluster), 0);
    pause_leaders(&mut cluster, &recorder).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[0].http()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_linearizable_while_leaders_that_hold_leases_are_paused() {
    let mut flags = QUICK.to_vec();
    flags.extend(["--lease-drift-percent", "10"]);
    let mut cluster = Cluster::start(3, "queue", &flags);
    let leader = cluster.leader().await;
    let recorder = Recorder::start(CLIENTS, &targets(&cluster), 0);
    eventually("the leader holds a lease", async || {
        let metrics = cluster.nodes[leader].http().get("/metrics").await.ok()?;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let holds = |line: &str| line == "oarlock_raft_has_lease 1";
        text.lines().any(holds).then_some(())
    })
    .await;
    pause_leaders(&mut cluster, &recorder).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[0].http()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_linearizable_while_a_leaders_messages_are_cut_off_in_one_direction() {
    let mut cluster = Cluster::prepare(3, "queue", &QUICK);
    let wires = Wires::between(&mut cluster).await;
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.leader().await;
    let recorder = Recorder::start(CLIENTS, &targets(&cluster), 0);
    for it_speaks in [false, true] {
        recorder.progress(20).await;
        let leader = cluster.leader().await;
        let rest = others(3, leader);
        for &other in &rest {
            let (from, to) = if it_speaks {
                (other, leader)
            } else {
                (leader, other)
            };
            wires.cut(from, to);
        }
        // A leader that receives nothing still sends heartbeats until it steps down.
        leader_among(&cluster, &rest).await;
        recorder.progress(20).await;
        wires.heal();
    }
    recorder.progress(20).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[0].http()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_linearizable_while_a_follower_is_cut_off_from_the_leader_in_one_direction()
{
    let mut cluster = Cluster::prepare(3, "queue", &QUICK);
    let wires = Wires::between(&mut cluster).await;
    cluster.nodes.iter_mut().for_each(Node::start);
    let recorder = Recorder::start(CLIENTS, &targets(&cluster), 0);
    for it_speaks in [false, true] {
        recorder.progress(20).await;
        let leader = cluster.leader().await;
        let follower = others(3, leader)[0];
        let (from, to) = if it_speaks {
            (leader, follower)
        } else {
            (follower, leader)
        };
        wires.cut(from, to);
        recorder.progress(30).await;
        wires.heal();
    }
    recorder.progress(20).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[0].http()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_linearizable_while_packets_between_network_namespaces_go_nowhere() {
    let networks = match NetNamespaces::new(3) {
        Ok(networks) => networks,
        Err(why) => return not_here("one-way cuts between network namespaces", &why),
    };
    let mut cluster = Cluster::prepare(3, "queue", &QUICK);
    let members = (0..3).map(|at| format!("node{}={}:7101", at + 1, networks.address(at)));
    let members = members.collect::<Vec<_>>().join(",");
    for (at, node) in cluster.nodes.iter_mut().enumerate() {
        let options = node.options_mut();
        options.peer_addr = format!("{}:7101", networks.address(at));
        options.client_addr = format!("{}:8101", networks.address(at));
        options.args.push("--insecure".to_owned());
        options.cluster.clone_from(&members);
        options.within = networks.within(at);
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.leader().await;
    let recorder = Recorder::start(CLIENTS, &targets(&cluster), 0);
    for it_speaks in [false, true] {
        recorder.progress(20).await;
        let leader = cluster.leader().await;
        let rest = others(3, leader);
        let pair = |other| {
            if it_speaks {
                (other, leader)
            } else {
                (leader, other)
            }
        };
        for &other in &rest {
            let (from, to) = pair(other);
            networks.cut(from, to);
        }
        leader_among(&cluster, &rest).await;
        recorder.progress(20).await;
        for &other in &rest {
            let (from, to) = pair(other);
            networks.heal(from, to);
        }
    }
    recorder.progress(20).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[0].http()).await;
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_linearizable_while_the_leaders_disk_is_full() {
    let mut cluster = Cluster::prepare(3, "queue", &QUICK);
    // All nodes have a small disk, because any of them may lead.
    let disks: Result<Vec<Mount>, Unavailable> = cluster
        .nodes
        .iter()
        .map(|node| Mount::tmpfs(node.data_dir(), "64m"))
        .collect();
    let disks = match disks {
        Ok(disks) => disks,
        Err(why) => return not_here("a full disk", &why),
    };
    cluster.nodes.iter_mut().for_each(Node::start);
    let leader = cluster.leader().await;
    let recorder = Recorder::start(CLIENTS, &targets(&cluster), 4096);
    recorder.progress(20).await;
    let ballast = cluster.nodes[leader].data_dir().join("ballast");
    fill(&ballast);
    let full = eventually("the node reports that its disk is full", async || {
        let log = cluster.nodes[leader].log();
        let reports = ["No space left on device", "disk is full"];
        reports
            .iter()
            .any(|report| log.contains(report))
            .then_some(())
    });
    full.await;
    recorder.progress(20).await;
    std::fs::remove_file(&ballast).expect("the ballast is there");
    if !cluster.nodes[leader].is_running() {
        cluster.nodes[leader].start();
    }
    recorder.progress(20).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[leader].http()).await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    drop(disks);
}

/// Takes all the room that is left.
fn fill(ballast: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(ballast).expect("a file");
    let piece = vec![0x5a; 64 << 10];
    while file.write_all(&piece).is_ok() {}
    // What is left of the last piece, byte by byte.
    while file.write_all(&[0x5a]).is_ok() {}
}

/// The open ports of an address.
async fn open_ports(address: &str) -> Vec<u16> {
    let mut probes = tokio::task::JoinSet::new();
    let mut open = Vec::new();
    for port in 1..=u16::MAX {
        if probes.len() == 256 {
            let probed = probes.join_next().await.expect("there are some");
            open.extend(probed.expect("no panic"));
        }
        let address = address.to_owned();
        probes.spawn(async move {
            let connected = TcpStream::connect((address.as_str(), port)).await;
            connected.ok().map(|_| port)
        });
    }
    for probed in probes.join_all().await {
        open.extend(probed);
    }
    open.sort_unstable();
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_from_another_network_finds_only_tls() {
    let networks = match NetNamespaces::new(1) {
        Ok(networks) => networks,
        Err(why) => return not_here("a scan from another network namespace", &why),
    };
    let mut cluster = Cluster::prepare(1, "kv", &[]);
    let (address, certs) = (networks.address(0), cluster.dir().join("certs"));
    let certs = certs.to_str().expect("text");
    for args in [
        &["ca", "--cluster-id", "prod"][..],
        &["node", "node1", "--host", &address],
        &["client", "ann", "--roles", "all"],
    ] {
        let made = run([&["cert"][..], args, &["--ca-dir", certs]].concat());
        assert!(made.status.success(), "{made:?}");
    }
    let options = cluster.nodes[0].options_mut();
    options.peer_addr = format!("{address}:7101");
    options.client_addr = format!("{address}:8101");
    options.cluster = format!("node1={address}:7101");
    options
        .args
        .extend(["--certs-dir".to_owned(), format!("{certs}/node1")]);
    options.within = networks.within(0);
    cluster.nodes[0].start();
    eventually("the node listens", async || {
        TcpStream::connect((address.as_str(), 8101)).await.ok()
    })
    .await;
    assert_eq!(open_ports(&address).await, [7101, 8101]);
    for port in [7101, 8101] {
        for probe in [
            &b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\0\0\x40OARL\0\x02 a hello without TLS, of a node of the same cluster",
            b"\x16\x03\x01\0\x02\x01\0",
        ] {
            let stream = TcpStream::connect((address.as_str(), port)).await;
            let mut stream = stream.expect("it listens");
            stream.write_all(probe).await.expect("it reads");
            let mut received = Vec::new();
            // A reset is an end too.
            let _ = stream.read_to_end(&mut received).await;
            // A TLS alert is a record of type 21 with two bytes.
            let is_alert = received.len() == 7 && received[0] == 21;
            assert!(received.is_empty() || is_alert, "port {port}: {received:?}");
        }
    }
    // Who has a certificate is served.
    let (endpoint, ann) = (format!("{address}:8101"), format!("{certs}/ann"));
    eventually("the node serves over TLS", async || {
        let with = ["--endpoints", &endpoint, "--certs-dir", &ann, "--json"];
        let status = run([&["status"][..], &with].concat());
        status.status.success().then_some(())
    })
    .await;
}
