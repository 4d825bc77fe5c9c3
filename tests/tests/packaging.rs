//! What a package needs: completions, manual pages, and a node under a service manager.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use oarlock_tests::process::{Cluster, QUICK, eventually, run, text};

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = run(["completions", shell]);
        assert!(printed.status.success(), "{}", text(&printed));
        let script = String::from_utf8(printed.stdout).expect("text");
        assert!(script.contains("transfer-leader"), "{shell}: {script}");
        assert!(
            !script.contains("check-module"),
            "{shell}: a hidden command"
        );
    }
    let refused = run(["completions", "csh"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}

#[test]
fn each_command_has_a_manual_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let pages = dir.path().join("man1");
    let written = run(["man", pages.to_str().expect("text")]);
    assert!(written.status.success(), "{}", text(&written));
    for page in ["oarlock.1", "oarlock-serve.1", "oarlock-members-add.1"] {
        let page =
            fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(page.contains(".SH NAME"), "{page}");
    }
    assert!(!pages.join("oarlock-check-module.1").exists());
    fs::write(dir.path().join("file"), "x").expect("written");
    let refused = run(["man", dir.path().join("file").to_str().expect("text")]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_that_the_node_serves_lives_and_stops() {
    let mut cluster = Cluster::prepare(1, "counter", &QUICK);
    let path = cluster.dir().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_nonblocking(true).expect("a socket");
    let node = &mut cluster.nodes[0];
    node.options_mut().within.extend([
        "env".to_owned(),
        format!("NOTIFY_SOCKET={}", path.display()),
        "WATCHDOG_USEC=200000".to_owned(),
    ]);
    node.start();
    told(&manager, "READY=1").await;
    let alive = node.http().get("/healthz").await;
    assert_eq!(alive.expect("a response").status, 200);
    told(&manager, "WATCHDOG=1").await;
    node.signal("TERM");
    told(&manager, "STOPPING=1").await;
    let ended = tokio::task::block_in_place(|| node.wait());
    assert!(ended.success(), "{}", node.log());
}

/// Waits for a message. Others may come before it.
async fn told(manager: &UnixDatagram, wanted: &str) {
    eventually(wanted, async || {
        let mut buffer = [0; 256];
        while let Ok(length) = manager.recv(&mut buffer) {
            if buffer[..length] == *wanted.as_bytes() {
                return Some(());
            }
        }
        None
    })
    .await;
}

/// The files of `host/packaging` name flags and variables that exist.
#[test]
fn the_unit_and_the_container_file_use_what_the_program_has() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/packaging");
    let help = run(["serve", "--help"]);
    let help = String::from_utf8(help.stdout).expect("text");
    for name in ["oarlock.service", "Containerfile"] {
        let content = fs::read_to_string(packaging.join(name)).expect("a file");
        let mut found = 0;
        for part in content.split(|c: char| c.is_whitespace() || "=\",[]".contains(c)) {
            let part = part.trim_matches(['`', '.']);
            if part.starts_with("OARLOCK_") || part.starts_with("--") && part.len() > 2 {
                // Flags of other programs.
                if ["--from", "--locked", "--release", "--package"].contains(&part) {
                    continue;
                }
                assert!(help.contains(part), "{name}: {part}");
                found += 1;
            }
        }
        assert!(found > 0, "{name}");
    }
    let unit = fs::read_to_string(packaging.join("oarlock.service")).expect("the unit");
    for line in ["Type=notify", "WatchdogSec=60s", "StateDirectoryMode=0700"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}
