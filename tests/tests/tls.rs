//! A cluster of real processes that uses TLS, and the commands that make and renew its certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use oarlock_client::{ApplyOptions, Client, Endpoint};
use oarlock_tests::process::{
    Cluster, Node, RawIdentity, RawLoad, SecuredCluster, cert, eventually, fail, run, succeed,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PUT: &str = r#"{"put":{"key":"k","value":"v"}}"#;
const GET: &str = r#"{"get":{"key":"k"}}"#;

/// Waits until a cluster with the task queue applies commands.
async fn serves_queue(client: &Client) {
    eventually("the cluster applies a command", async || {
        let command = r#"{"end_waits":{"worker":"nobody"}}"#;
        client.apply(command, &ApplyOptions::default()).await.ok()
    })
    .await;
}

/// Waits until the cluster applies commands.
async fn serves(client: &Client) {
    eventually("the cluster applies a command", async || {
        client.apply(PUT, &ApplyOptions::default()).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_certificates_serves_its_clients_and_no_others() {
    let secured = SecuredCluster::start();
    serves(&secured.client("ann")).await;
    let (endpoints, ann) = (secured.endpoints(), secured.path("ann"));
    let with = ["--endpoints", &endpoints, "--certs-dir", &ann];
    let applied = succeed(&[&["apply", PUT][..], &with].concat());
    assert_eq!(applied.trim(), r#"{"previous":"v"}"#);
    let status = succeed(&[&["status", "--json"][..], &with].concat());
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert!(status.to_string().contains("node3"), "{status}");
    succeed(&[&["transfer-leader"][..], &with].concat());
    // Without a certificate, and without TLS.
    let ca = secured.path("ca.crt");
    let refused = run(["apply", PUT, "--endpoints", &endpoints, "--ca", &ca]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("certificate"), "{error}");
    let at_first = &secured.cluster.nodes[0].http().0;
    let plain = fail(&["apply", PUT, "--endpoints", at_first], 3);
    assert!(plain.contains("--certs-dir"), "{plain}");
    // With the authority of another cluster.
    let foreign = secured.cluster.dir().join("foreign");
    cert(&foreign, &["ca"]);
    let foreign = foreign.join("ca.crt");
    let foreign = foreign.to_str().expect("text");
    let foreign = fail(&["status", "--endpoints", &endpoints, "--ca", foreign], 3);
    assert!(
        foreign.contains("use the ca.crt of its cluster"),
        "{foreign}"
    );
    // Nodes log what operators do.
    let logs: String = secured.cluster.nodes.iter().map(Node::log).collect();
    let audit = logs.lines().find(|line| line.contains("oarlock::audit"));
    let audit = audit.expect("a line about the transfer");
    assert!(
        audit.contains("ann") && audit.contains("/v1/leader/transfer"),
        "{audit}"
    );
    // A revoked client changes nothing, and is told why.
    all_reload(
        &secured.cluster,
        "the nodes know the revoked client",
        || {
            let nodes = secured.node_dirs().join(",");
            cert(&secured.certs, &["revoke", &ann, "--nodes", &nodes]);
        },
    )
    .await;
    let revoked = fail(&[&["apply", PUT][..], &with].concat(), 3);
    assert!(revoked.contains("CertificateRevoked"), "{revoked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_both_ports_finds_only_tls() {
    let secured = SecuredCluster::start();
    serves(&secured.client("ann")).await;
    let node = &secured.cluster.nodes[0];
    for addr in [node.peer_addr().to_owned(), node.http().0] {
        for probe in [
            &b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
            b"\0\0\0\x40OARL\0\x02 a hello without TLS, of a node of the same cluster",
            b"\x16\x03\x01\0\x02\x01\0",
        ] {
            let mut stream = tokio::net::TcpStream::connect(&addr)
                .await
                .expect("it listens");
            stream.write_all(probe).await.expect("it reads");
            let mut received = Vec::new();
            let _ = stream.read_to_end(&mut received).await;
            assert!(
                received.len() <= 7,
                "no more than a TLS alert: {received:?}"
            );
        }
    }
    serves(&secured.client("ann")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_foreign_certificate_never_gets_in() {
    let mut secured = SecuredCluster::start();
    let client = secured.client("ann");
    serves(&client).await;
    // Its own authority signs a certificate with the same names.
    let foreign = secured.cluster.dir().join("foreign");
    cert(&foreign, &["ca", "--cluster-id", "prod"]);
    cert(&foreign, &["node", "node3"]);
    secured.cluster.nodes[2].kill();
    let options = secured.cluster.nodes[2].options_mut();
    let at = options.args.len() - 1;
    let own = std::mem::replace(
        &mut options.args[at],
        foreign.join("node3").display().to_string(),
    );
    secured.cluster.nodes[2].start();
    eventually("the others refuse it", async || {
        secured.cluster.nodes[0]
            .log()
            .contains("could not be secured")
            .then_some(())
    })
    .await;
    secured.cluster.nodes[2].kill();
    secured.cluster.nodes[2].options_mut().args[at] = own;
    secured.cluster.nodes[2].start();
    let caught_up = client
        .apply(PUT, &ApplyOptions::default())
        .await
        .expect("applied")
        .index;
    let third: Endpoint = secured.cluster.nodes[2]
        .http()
        .0
        .parse()
        .expect("an endpoint");
    eventually("it has caught up", async || {
        let status = client.status_of(&third).await.ok()?;
        (status.applied_index >= caught_up).then_some(())
    })
    .await;
}

fn reloads(node: &Node) -> usize {
    let log = node.log();
    log.matches("the certificates were read again").count()
}

/// Changes files, and waits until all nodes have read them.
async fn all_reload(cluster: &Cluster, what: &str, change: impl FnOnce()) {
    let before: Vec<usize> = cluster.nodes.iter().map(reloads).collect();
    change();
    eventually(what, async || {
        let now = cluster.nodes.iter().map(reloads);
        now.zip(&before)
            .all(|(now, before)| now > *before)
            .then_some(())
    })
    .await;
}

/// Authority, certificates and tokens are replaced, one after the other, while clients send commands to all nodes. The clients
/// repeat nothing, so they count each request that fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_everything_under_load_fails_no_request() {
    let secured = SecuredCluster::start();
    serves(&secured.client("ann")).await;
    let all_serve = |identity: RawIdentity| RawLoad::start(&secured, &identity, PUT);
    let with_certificate = || all_serve(RawIdentity::certificate(&secured.certs.join("ann")));
    let authorities = secured.certs.join("ca.crt");
    let with_token = |token: &str| all_serve(RawIdentity::token(token, &authorities));
    let first = with_certificate();
    let nodes = secured.node_dirs();
    let dirs: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let ann = secured.path("ann");
    first.progress().await;
    cert(&secured.certs, &["ca", "--rotate"]);
    all_reload(&secured.cluster, "the nodes trust both authorities", || {
        cert(
            &secured.certs,
            &[&["renew"][..], &dirs, &["--authorities-only"]].concat(),
        );
    })
    .await;
    first.progress().await;
    // Clients that trust both authorities, and have a certificate of the new one.
    cert(&secured.certs, &["renew", &ann]);
    let second = with_certificate();
    second.progress().await;
    first.end().await;
    all_reload(&secured.cluster, "the nodes have new certificates", || {
        cert(&secured.certs, &[&["renew"][..], &dirs].concat());
    })
    .await;
    second.progress().await;
    // New connections, to new certificates.
    let third = with_certificate();
    third.progress().await;
    // Tokens of both keys, then of the new one only.
    let old = secured.token(&["create", "job", "--roles", "writer"]);
    let fourth = with_token(&old);
    fourth.progress().await;
    secured.token(&["key", "--rotate"]);
    all_reload(&secured.cluster, "the nodes know both keys", || {
        cert(
            &secured.certs,
            &[&["renew"][..], &dirs, &["--authorities-only"]].concat(),
        );
    })
    .await;
    let new = secured.token(&["create", "job", "--roles", "writer"]);
    let fifth = with_token(&new);
    fifth.progress().await;
    fourth.end().await;
    secured.token(&["key", "--drop-old"]);
    cert(&secured.certs, &["ca", "--drop-old"]);
    all_reload(
        &secured.cluster,
        "the nodes know the new key and the new authority only",
        || {
            cert(
                &secured.certs,
                &[&["renew"][..], &dirs, &["--authorities-only"]].concat(),
            );
        },
    )
    .await;
    fifth.progress().await;
    fifth.end().await;
    let refused = secured.token_client(&old);
    let refused = refused.apply(PUT, &ApplyOptions::default()).await;
    assert!(refused.is_err(), "a token of the old key is accepted");
    // SIGHUP reads the files too.
    let before = reloads(&secured.cluster.nodes[0]);
    secured.cluster.nodes[0].signal("HUP");
    eventually("a node reads its files on SIGHUP", async || {
        (reloads(&secured.cluster.nodes[0]) > before).then_some(())
    })
    .await;
    second.progress().await;
    third.progress().await;
    let succeeded = second.end().await + third.end().await;
    assert!(succeeded > 400, "{succeeded}");
}

/// Each refusal names its reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_refused_with_the_reason() {
    let secured = SecuredCluster::start();
    serves(&secured.client("ann")).await;
    let (endpoints, ca) = (secured.endpoints(), secured.path("ca.crt"));
    let with = |file: &str, args: &[&str]| -> Vec<String> {
        let flags = ["--endpoints", &endpoints, "--ca", &ca, "--token-file", file];
        let all = [args, &flags[..]].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let run_with = |file: &str, args: &[&str]| {
        let args = with(file, args);
        run(args.iter().map(String::as_str))
    };
    let refused = |file: &str, args: &[&str], reason: &str| {
        let args = with(file, args);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let error = fail(&args, 1);
        assert!(error.contains(reason), "{error}");
    };
    let token = secured.token(&["create", "job", "--roles", "writer", "--ttl", "24h"]);
    let file = secured.token_file("job.token", &token);
    let shown: Value =
        serde_json::from_str(&secured.token(&["show", &file, "--json"])).expect("JSON");
    assert_eq!(
        (&shown["name"], &shown["roles"]),
        (&"job".into(), &"writer".into())
    );
    let applied = run_with(&file, &["apply", PUT]);
    assert!(applied.status.success(), "{applied:?}");
    refused(&file, &["query", GET], "does not have the role reader");
    refused(&file, &["snapshot"], "does not have the role operator");
    // A bit in the middle of the claims.
    let at = token.find('.').expect("a dot") + 20;
    let mut flipped = token.clone().into_bytes();
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("ASCII");
    let flipped = secured.token_file("flipped.token", &flipped);
    refused(
        &flipped,
        &["apply", PUT],
        "no key that this node knows has signed it",
    );
    // One that expires.
    let short = secured.path("short.token");
    secured.token(&[
        "create", "job", "--roles", "writer", "--ttl", "1s", "--out", &short,
    ]);
    let mode = fs::metadata(&short).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    eventually("the token expires", async || {
        let output = run_with(&short, &["apply", PUT]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        error.contains("it has expired").then_some(())
    })
    .await;
    // Of another cluster, with the same name.
    let foreign = secured.cluster.dir().join("foreign");
    cert(&foreign, &["ca", "--cluster-id", "prod"]);
    let foreign = foreign.to_str().expect("text");
    let foreign = succeed(&[
        "token", "create", "job", "--roles", "all", "--ca-dir", foreign,
    ]);
    let foreign = secured.token_file("foreign.token", &foreign);
    refused(
        &foreign,
        &["apply", PUT],
        "no key that this node knows has signed it",
    );
    let nodes = secured.node_dirs().join(",");
    all_reload(&secured.cluster, "the nodes know the revoked token", || {
        secured.token(&["revoke", &file, "--nodes", &nodes]);
    })
    .await;
    refused(&file, &["apply", PUT], "it was revoked");
    let unencrypted = fail(&["apply", PUT, "--token-file", &file], 2);
    assert!(unencrypted.contains("--ca"), "{unencrypted}");
}

/// The node has joined with its certificate. When it is removed, its connections are closed, and when its certificate is revoked,
/// it can open no new ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_disconnected_and_stays_out_once_its_certificate_is_revoked() {
    let mut secured = SecuredCluster::start();
    let client = secured.client("ann");
    serves(&client).await;
    let (endpoints, ann) = (secured.endpoints(), secured.path("ann"));
    let with = ["--endpoints", &endpoints, "--certs-dir", &ann];
    cert(&secured.certs, &["node", "node4"]);
    let fourth = secured.path("node4");
    // The new node gets the flags of the first one, whose last one is the directory of its certificate.
    let first = secured.cluster.nodes[0].options_mut();
    let at = first.args.len() - 1;
    let own = std::mem::replace(&mut first.args[at], fourth.clone());
    let joined = secured.cluster.join();
    secured.cluster.nodes[0].options_mut().args[at] = own;
    let address = secured.cluster.nodes[joined].peer_addr().to_owned();
    let member = format!("node4={address}");
    succeed(&[&["members", "add", &member, "--voter"][..], &with].concat());
    let removed = &secured.cluster.nodes[joined];
    let connects = || removed.log().matches("connected to peer").count();
    eventually("it is connected to all", async || {
        (connects() >= 3).then_some(())
    })
    .await;
    let before = connects();
    succeed(&[&["members", "remove", "node4"][..], &with].concat());
    eventually(
        "its connections were closed, so it connects again",
        async || (connects() > before).then_some(()),
    )
    .await;
    let nodes = secured.node_dirs().join(",");
    cert(&secured.certs, &["revoke", &fourth, "--nodes", &nodes]);
    for node in &secured.cluster.nodes[..joined] {
        eventually("its open connections are closed", async || {
            node.log().contains("no longer trusted").then_some(())
        })
        .await;
        eventually("new ones are refused", async || {
            let log = node.log().to_lowercase();
            let refused =
                |line: &str| line.contains("connection refused") && line.contains("revoked");
            log.lines().any(refused).then_some(())
        })
        .await;
    }
    serves(&client).await;
}

#[test]
fn the_wrong_files_are_refused_at_the_start_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs");
    cert(&certs, &["ca", "--cluster-id", "prod"]);
    cert(&certs, &["node", "node1"]);
    let again = run(["cert", "ca", "--ca-dir", certs.to_str().expect("text")]);
    assert_eq!(again.status.code(), Some(1));
    let at = certs.join("node1");
    let serve = |flags: &[&str]| {
        let data = dir.path().join("data");
        let fixed = [
            "serve",
            "--certs-dir",
            at.to_str().expect("text"),
            "--data-dir",
        ];
        let output = run([&fixed[..], &[data.to_str().expect("text")], flags].concat());
        assert!(!data.exists());
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for (flags, reason) in [
        (&["--node-id", "node2"][..], "node/node1"),
        (&["--cluster-id", "test"], "oarlock://prod"),
        (&["--insecure"], "--insecure"),
    ] {
        let (code, error) = serve(flags);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    let shown = cert(&certs, &["show", at.to_str().expect("text"), "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        shown["certificates"][0]["identity"],
        "oarlock://prod/node/node1"
    );
    // The day is complete only in the second in which the certificate was made.
    let days = shown["certificates"][0]["valid_days"].as_i64();
    assert!(matches!(days, Some(364 | 365)), "{days:?}");
    fs::set_permissions(at.join("node.key"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let (code, error) = serve(&[]);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("node.key") && error.contains("chmod 600"),
        "{error}"
    );
}

/// The task queue enforces the scope of a token, whichever node gets the request, and after a restart of all
/// nodes too.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_queue_works_there_and_nowhere_else_on_every_node() {
    let mut secured = SecuredCluster::prepare_with("queue");
    secured.cluster.nodes.iter_mut().for_each(Node::start);
    let operator = secured.client("ann");
    serves_queue(&operator).await;
    let put = |queue: &str| format!(r#"{{"enqueue":{{"queue":"{queue}","payload":1}}}}"#);
    let first = operator.apply(put("b"), &ApplyOptions::default()).await;
    first.expect("task 1 is in the queue b");
    let made = ["create", "job", "--roles", "reader,writer", "--queues", "a"];
    let token = secured.token(&made);
    let file = secured.token_file("job.token", &token);
    let shown = secured.token(&["show", &file]);
    assert!(shown.contains("queues=a"), "{shown}");
    let (ca, mut sent) = (secured.path("ca.crt"), 0);
    for restarted in [false, true] {
        if restarted {
            secured.cluster.nodes.iter_mut().for_each(Node::kill);
            secured.cluster.nodes.iter_mut().for_each(Node::start);
            serves_queue(&operator).await;
        }
        for node in &secured.cluster.nodes {
            let endpoint = node.http().0;
            let flags = ["--endpoints", &endpoint, "--ca", &ca, "--token-file", &file];
            let run_with = |args: &[&str]| run([args, &flags[..]].concat());
            let allowed = run_with(&["apply", &put("a")]);
            assert!(allowed.status.success(), "{allowed:?}");
            sent += 1;
            for refused in [
                run_with(&["apply", &put("b")]),
                run_with(&["apply", r#"{"purge":{"queue":"b"}}"#]),
                run_with(&["query", r#"{"list":{"queue":"b","state":"ready"}}"#]),
                run_with(&["query", r#"{"task":{"id":1}}"#]),
            ] {
                let error = String::from_utf8_lossy(&refused.stderr);
                assert_eq!(refused.status.code(), Some(1), "{error}");
                assert!(error.contains("forbidden"), "{error}");
            }
            let stats = run_with(&["query", r#"{"stats":{}}"#]);
            let stats: Value = serde_json::from_slice(&stats.stdout).expect("JSON");
            let queues = stats["queues"].as_object().expect("queues");
            assert_eq!(queues.keys().collect::<Vec<_>>(), ["a"], "{stats}");
            assert_eq!(queues["a"]["ready"], sent);
        }
    }
}

/// Name, operator and error of what a node shows, latest first. `None`: the end is not recorded yet.
fn operations(endpoint: &str, dir: &str) -> Vec<(String, String, Option<Value>)> {
    let with = ["--endpoints", endpoint, "--certs-dir", dir];
    let shown = succeed(&[&["operations", "--json"][..], &with].concat());
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let operations = shown["operations"].as_array().expect("a list");
    let row = |operation: &Value| {
        let text = |name: &str| operation[name].as_str().expect("text").to_owned();
        let end = operation["end"].as_object().map(|end| end["error"].clone());
        let what = format!("{} {}", text("what"), text("details"));
        (what.trim_end().to_owned(), text("by"), end)
    };
    operations.iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_do_is_in_the_log_of_every_node() {
    let mut secured = SecuredCluster::start();
    let ann = secured.client("ann");
    serves(&ann).await;
    cert(&secured.certs, &["client", "bob", "--roles", "operator"]);
    cert(
        &secured.certs,
        &["client", "eve", "--roles", "reader,writer"],
    );
    let (endpoints, bob) = (secured.endpoints(), secured.path("bob"));
    let with = ["--endpoints", &endpoints, "--certs-dir", &bob];
    succeed(&[&["settings", "set", "keys=50000"][..], &with].concat());
    let removal = fail(&[&["members", "remove", "node9"][..], &with].concat(), 1);
    assert!(removal.contains("unknown_node"), "{removal}");
    succeed(&[&["snapshot"][..], &with].concat());
    let first = secured.cluster.nodes[0].http().0;
    let eve = secured.path("eve");
    let denied = ["operations", "--endpoints", &first, "--certs-dir", &eve];
    assert!(fail(&denied, 1).contains("forbidden"));
    let row = |what: &str, error: Value| (what.to_owned(), "bob".to_owned(), Some(error));
    let mut expected = vec![
        row("changeSettings keys=50000", Value::Null),
        row("removeMember node9", "unknown_node".into()),
    ];
    // One for each node, in any order.
    for node in ["node1", "node2", "node3"] {
        expected.push(row(&format!("takeSnapshot {node}"), Value::Null));
    }
    let sorted = |mut rows: Vec<(String, String, Option<Value>)>| {
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        rows
    };
    let expected = sorted(expected);
    for restarted in [false, true] {
        if restarted {
            secured.cluster.nodes.iter_mut().for_each(Node::kill);
            secured.cluster.nodes.iter_mut().for_each(Node::start);
            serves(&ann).await;
        }
        for node in &secured.cluster.nodes {
            let endpoint = node.http().0;
            eventually("a node shows what operators did", async || {
                (sorted(operations(&endpoint, &bob)) == expected).then_some(())
            })
            .await;
        }
    }
}
