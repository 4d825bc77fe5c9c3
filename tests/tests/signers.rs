//! Nodes with `--module-signers` accept modules that one of their keys has signed, and no others.

use std::fs;
use std::path::{Path, PathBuf};

use oarlock_tests::process::{Cluster, Node, eventually, guest, run, text};

/// Runs `oarlock`, which must succeed, and returns what it prints.
fn succeed(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `oarlock`, which must be refused, and returns what it prints about the error.
fn refused(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
    text(&output)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// A new key in this directory, and the file of signers with its public key.
fn new_key(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (key, signers) = (
        dir.join(format!("{name}.key")),
        dir.join(format!("{name}-signers")),
    );
    let public = succeed(&["sign-module", "--new-key", path(&key)]);
    fs::write(&signers, format!("# {name}\n{public}")).expect("writable");
    (key, signers)
}

fn sign(module: &Path, key: &Path) {
    succeed(&["sign-module", path(module), "--key", path(key)]);
}

/// The file with the signature of a module.
fn signature(module: &Path) -> PathBuf {
    PathBuf::from(format!("{}.sig", path(module)))
}

async fn digests(cluster: &Cluster) -> Vec<String> {
    let mut digests = Vec::new();
    for node in &cluster.nodes {
        let status = eventually("a node shows its status", async || {
            node.http().get("/v1/status").await.ok()
        })
        .await;
        let status = status.json();
        digests.push(
            status["state_machine"]["sha256"]
                .as_str()
                .expect("a digest")
                .to_owned(),
        );
    }
    digests
}

#[tokio::test(flavor = "multi_thread")]
async fn only_signed_modules_are_accepted_at_the_start_and_by_upgrades() {
    let mut cluster = Cluster::prepare(3, "counter", &[]);
    let dir = cluster.dir().to_owned();
    let (first, second) = (dir.join("first.wasm"), dir.join("second.wasm"));
    fs::copy(guest("counter"), &first).expect("a guest");
    fs::copy(guest("counter-2"), &second).expect("a guest");
    let (key, signers) = new_key(&dir, "own");
    let (foreign_key, foreign_signers) = new_key(&dir, "foreign");
    // The first start wants a signature next to the module.
    let alone = dir.join("alone");
    let start = [
        "serve",
        "--state-machine",
        path(&first),
        "--module-signers",
        path(&signers),
        "--data-dir",
        path(&alone),
    ];
    let error = refused(&start);
    assert!(
        error.contains("is not signed") && error.contains("first.wasm.sig"),
        "{error}"
    );
    sign(&first, &foreign_key);
    let error = refused(&start);
    assert!(error.contains("has made this signature"), "{error}");
    sign(&first, &key);
    for node in &mut cluster.nodes {
        let args = &mut node.options_mut().args;
        let at = args
            .iter()
            .position(|arg| arg == "--state-machine")
            .expect("the flag");
        args[at + 1] = path(&first).to_owned();
        args.extend(["--module-signers".to_owned(), path(&signers).to_owned()]);
        node.start();
    }
    cluster.leader().await;
    let endpoints: Vec<String> = cluster.nodes.iter().map(|node| node.http().0).collect();
    let endpoints = endpoints.join(",");
    let upgrade = ["upgrade", path(&second), "--endpoints", &endpoints];
    let before = digests(&cluster).await;
    // Unsigned, of another key, changed, and of another module.
    let error = refused(&upgrade);
    assert!(error.contains("module_unsigned"), "{error}");
    sign(&second, &foreign_key);
    let error = refused(&upgrade);
    assert!(error.contains("has made this signature"), "{error}");
    sign(&second, &key);
    let right = fs::read_to_string(signature(&second)).expect("a signature");
    let last = if right.trim().ends_with("AA") {
        "BA"
    } else {
        "AA"
    };
    let changed = format!("{}{last}", &right.trim()[..right.trim().len() - 4]);
    fs::write(signature(&second), changed).expect("writable");
    refused(&upgrade);
    fs::copy(signature(&first), signature(&second)).expect("a signature");
    let error = refused(&upgrade);
    assert!(error.contains("of another module"), "{error}");
    assert_eq!(digests(&cluster).await, before);
    // The right one, but one of the nodes has other keys.
    sign(&second, &key);
    one_voter_with_other_keys_aborts_an_upgrade(&mut cluster, &second, &foreign_signers).await;
    // And on nodes with the right keys.
    cluster.nodes[2].kill();
    *cluster.nodes[2]
        .options_mut()
        .args
        .last_mut()
        .expect("the file of signers") = path(&signers).to_owned();
    cluster.nodes[2].start();
    cluster.converged().await;
    succeed(&upgrade);
    eventually("all nodes run the new module", async || {
        let now = digests(&cluster).await;
        let all_same = now.iter().all(|digest| *digest == now[0]);
        (all_same && now[0] != before[0]).then_some(())
    })
    .await;
}

/// The upgrade ends on all nodes alike, although the other nodes accept the module.
async fn one_voter_with_other_keys_aborts_an_upgrade(
    cluster: &mut Cluster,
    module: &Path,
    foreign_signers: &Path,
) {
    cluster.nodes[2].kill();
    // It follows the log, so it needs no file of its own.
    let args = &mut cluster.nodes[2].options_mut().args;
    let at = args
        .iter()
        .position(|arg| arg == "--state-machine")
        .expect("the flag");
    args.drain(at..at + 2);
    *args.last_mut().expect("the file of signers") = path(foreign_signers).to_owned();
    cluster.nodes[2].start();
    cluster.converged().await;
    let before = digests(cluster).await;
    let endpoint = cluster.nodes[0].http().0;
    let error = refused(&["upgrade", path(module), "--endpoints", &endpoint]);
    assert!(
        error.contains("node3") && error.contains("has made this signature"),
        "{error}"
    );
    cluster.converged().await;
    assert_eq!(digests(cluster).await, before);
    cluster.nodes.iter_mut().for_each(Node::kill);
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.converged().await;
    assert_eq!(digests(cluster).await, before);
}
