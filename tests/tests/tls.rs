//! A cluster of real processes that uses TLS, and the commands that make and renew its certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oarlock_client::{ApplyOptions, Client, ClientOptions, Endpoint, TlsOptions};
use oarlock_tests::process::{Cluster, Node, eventually, run};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PUT: &str = r#"{"put":{"key":"k","value":"v"}}"#;

/// Three nodes that are not started yet, with certificates.
struct SecuredCluster {
    cluster: Cluster,
    certs: PathBuf,
}

/// Runs `oarlock` to its end, which must be a success, and returns what it prints.
fn succeed(args: &[&str]) -> String {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `oarlock cert`, with the authority in a directory.
fn cert(certs: &Path, args: &[&str]) -> String {
    let certs = certs.to_str().expect("text");
    succeed(&[&["cert"][..], args, &["--ca-dir", certs]].concat())
}

impl SecuredCluster {
    fn prepare() -> Self {
        let mut cluster = Cluster::prepare(3, "kv", &[]);
        let certs = cluster.dir().join("certs");
        cert(&certs, &["ca", "--cluster-id", "prod"]);
        cert(&certs, &["node", "node1", "node2", "node3"]);
        cert(&certs, &["client", "ann", "--roles", "all"]);
        for node in &mut cluster.nodes {
            let dir = certs.join(node.id());
            let dir = dir.to_str().expect("text").to_owned();
            node.options_mut()
                .args
                .extend(["--certs-dir".to_owned(), dir]);
        }
        Self { cluster, certs }
    }

    fn start() -> Self {
        let mut secured = Self::prepare();
        secured.cluster.nodes.iter_mut().for_each(Node::start);
        secured
    }

    fn endpoints(&self) -> String {
        let addresses = self.cluster.nodes.iter().map(|node| node.http().0);
        addresses.collect::<Vec<_>>().join(",")
    }

    fn path(&self, name: &str) -> String {
        self.certs.join(name).to_str().expect("text").to_owned()
    }

    fn client(&self, name: &str) -> Client {
        let tls = TlsOptions::from_dir(self.certs.join(name)).expect("certificates");
        let endpoints = Endpoint::parse_list(&self.endpoints()).expect("endpoints");
        let options = ClientOptions {
            tls: Some(tls),
            timeout: Duration::from_secs(30),
            ..ClientOptions::default()
        };
        Client::with_options(endpoints, options).expect("a client")
    }

    /// Waits until the cluster applies commands.
    async fn serves(&self, client: &Client) {
        eventually("the cluster applies a command", async || {
            client.apply(PUT, &ApplyOptions::default()).await.ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_certificates_serves_its_clients_and_no_others() {
    let secured = SecuredCluster::start();
    secured.serves(&secured.client("ann")).await;
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
    let plain = run([
        "apply",
        PUT,
        "--endpoints",
        &endpoints,
        "--timeout-ms",
        "2000",
    ]);
    assert!(!plain.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_both_ports_finds_only_tls() {
    let secured = SecuredCluster::start();
    secured.serves(&secured.client("ann")).await;
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
    secured.serves(&secured.client("ann")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_foreign_certificate_never_gets_in() {
    let mut secured = SecuredCluster::start();
    let client = secured.client("ann");
    secured.serves(&client).await;
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

/// Clients that send commands until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (client, stop, done) = (client.clone(), Arc::clone(&stop), Arc::clone(&done));
            clients.spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    let applied = client.apply(PUT, &ApplyOptions::default()).await;
                    applied.unwrap_or_else(|error| panic!("a request failed: {error}"));
                    done.fetch_add(1, Ordering::Release);
                }
            });
        }
        Self {
            stop,
            done,
            clients,
        }
    }

    async fn progress(&self) {
        let before = self.done.load(Ordering::Acquire);
        eventually("commands are applied", async || {
            (self.done.load(Ordering::Acquire) > before + 50).then_some(())
        })
        .await;
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Release);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no request failed");
        }
    }
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

/// Authority and certificates are replaced, one after the other, while clients send commands.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_everything_under_load_fails_no_request() {
    let secured = SecuredCluster::start();
    let client = secured.client("ann");
    secured.serves(&client).await;
    let first = Load::start(&client);
    let nodes = ["node1", "node2", "node3"].map(|id| secured.path(id));
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
    let second = Load::start(&secured.client("ann"));
    second.progress().await;
    first.end().await;
    all_reload(&secured.cluster, "the nodes have new certificates", || {
        cert(&secured.certs, &[&["renew"][..], &dirs].concat());
    })
    .await;
    second.progress().await;
    // New connections, to new certificates.
    let third = Load::start(&secured.client("ann"));
    third.progress().await;
    // SIGHUP reads the files too.
    let before = reloads(&secured.cluster.nodes[0]);
    secured.cluster.nodes[0].signal("HUP");
    eventually("a node reads its files on SIGHUP", async || {
        (reloads(&secured.cluster.nodes[0]) > before).then_some(())
    })
    .await;
    second.progress().await;
    third.progress().await;
    second.end().await;
    third.end().await;
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
    assert_eq!(shown["certificates"][0]["valid_days"].as_i64(), Some(364));
    fs::set_permissions(at.join("node.key"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let (code, error) = serve(&[]);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("node.key") && error.contains("chmod 600"),
        "{error}"
    );
}
