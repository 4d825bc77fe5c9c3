//! The import table: `server → wasm → raft`, `guest-sdk → wit` and nothing of the host, `examples-wasm → guest-sdk`,
//! `tests → all`. The client depends on no other package, and only the commands of the binary use it.

use super::facts::Fact;
use super::tree::{Finding, Tree};

/// The packages that one package may import.
struct Row {
    package: &'static str,
    folder: &'static str,
    may: &'static [&'static str],
    /// Packages from the registry that it must not import, and all whose names begin with one of these and a hyphen.
    never: &'static [&'static str],
}

/// Packages that run WebAssembly.
const WASM: [&str; 5] = ["wasmtime", "wasmparser", "wit-", "wat", "wasm-"];
/// Packages for HTTP.
const HTTP: [&str; 7] = [
    "axum",
    "hyper",
    "http",
    "tower",
    "reqwest",
    "prometheus",
    "tonic",
];

const TABLE: [Row; 23] = [
    Row {
        package: "task_queue_raft",
        folder: "host/raft",
        may: &[],
        never: &[
            WASM[0],
            WASM[1],
            WASM[2],
            WASM[3],
            WASM[4],
            HTTP[0],
            HTTP[1],
            HTTP[2],
            HTTP[3],
            HTTP[4],
            HTTP[5],
            HTTP[6],
            "serde_json",
            "clap",
        ],
    },
    Row {
        package: "oarlock-wasm",
        folder: "host/wasm",
        may: &["task_queue_raft"],
        never: &[
            HTTP[0], HTTP[1], HTTP[2], HTTP[3], HTTP[4], HTTP[5], HTTP[6], "tokio", "redb", "clap",
        ],
    },
    Row {
        package: "oarlock-client",
        folder: "host/client",
        may: &[],
        never: &[
            WASM[0], WASM[1], WASM[2], WASM[3], "redb", "bincode", "clap",
        ],
    },
    // It builds modules, and runs none.
    Row {
        package: "oarlock-project",
        folder: "host/project",
        may: &[],
        never: &[
            WASM[0], WASM[1], WASM[3], HTTP[0], HTTP[1], HTTP[2], HTTP[3], HTTP[4], HTTP[5],
            HTTP[6], "tokio", "redb", "bincode", "clap",
        ],
    },
    Row {
        package: "oarlock",
        folder: "host/server",
        may: &[
            "task_queue_raft",
            "oarlock-wasm",
            "oarlock-client",
            "oarlock-project",
        ],
        never: &[WASM[0], WASM[2], "redb", "bincode"],
    },
    Row {
        package: "oarlock-guest",
        folder: "guest-sdk",
        may: &["oarlock-guest-macros"],
        never: &["wasmtime", "tokio", "redb", HTTP[0], HTTP[1], HTTP[2]],
    },
    // Code that the macros generate names the SDK. They cannot depend on it: that would be a circle.
    Row {
        package: "oarlock-guest-macros",
        folder: "guest-sdk/macros",
        may: &["oarlock-guest"],
        never: &["tokio"],
    },
    guest("oarlock-counter", "examples-wasm/counter"),
    guest("oarlock-election", "examples-wasm/election"),
    guest("oarlock-flags", "examples-wasm/flags"),
    guest("oarlock-kv", "examples-wasm/kv"),
    guest("oarlock-ledger", "examples-wasm/ledger"),
    guest("oarlock-lock", "examples-wasm/lock"),
    guest("oarlock-queue", "examples-wasm/queue"),
    guest("oarlock-rate-limiter", "examples-wasm/rate-limiter"),
    // Programs that use the queue, not a part of the guest. The package of the tests builds them.
    Row {
        package: "oarlock-queue-examples",
        folder: "examples-wasm/queue/examples",
        may: &["oarlock-client"],
        never: &["wasmtime"],
    },
    guest("oarlock-clockwork", "tests/guests/clockwork"),
    guest("oarlock-curious", "tests/guests/curious"),
    guest("oarlock-faulty", "tests/guests/faulty"),
    guest("oarlock-counter-2", "tests/guests/counter-2"),
    guest("oarlock-fruit", "tests/guests/fruit"),
    Row {
        package: "xtask",
        folder: "tests/xtask",
        may: &[],
        never: &["tokio", "wasmtime"],
    },
    Row {
        package: "oarlock-tests",
        folder: "tests",
        may: &[
            "task_queue_raft",
            "oarlock-wasm",
            "oarlock-client",
            "oarlock-guest",
            "oarlock-counter",
            "oarlock-kv",
            "oarlock-queue",
            "oarlock",
            "xtask",
        ],
        never: &[],
    },
];

const fn guest(package: &'static str, folder: &'static str) -> Row {
    let never = &["tokio", "wasmtime", "rand", "getrandom", "chrono"];
    Row {
        package,
        folder,
        may: &["oarlock-guest"],
        never,
    }
}

/// Modules of the binary that may use the client: commands, not a node.
const CLIENT_USERS: [&str; 4] = ["command", "demo", "dev", "bench"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = manifests(tree);
    for source in tree.rust() {
        let Some(row) = row_of(&source.path) else {
            continue;
        };
        let facts = match source.facts() {
            Ok(facts) => facts,
            Err(finding) => {
                found.push(finding);
                continue;
            }
        };
        for seen in facts {
            let Fact::Path(path) = seen.fact else {
                continue;
            };
            let first = path.split("::").next().unwrap_or_default();
            if let Some(what) = row
                .objection(first)
                .or_else(|| serving_client(&source.path, first))
            {
                found.push(Finding::new(&source.path, seen.line, what));
            }
        }
    }
    found
}

/// The row of the package that a file belongs to: that of the innermost folder.
fn row_of(path: &str) -> Option<&'static Row> {
    let inside = |row: &&Row| {
        path.strip_prefix(row.folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    TABLE
        .iter()
        .filter(inside)
        .max_by_key(|row| row.folder.len())
}

impl Row {
    /// Why this package must not import that one. A name may be a package's or a crate's.
    fn objection(&self, other: &str) -> Option<String> {
        let same = |a: &str, b: &str| a.replace('-', "_") == b.replace('-', "_");
        if same(other, self.package) {
            return None;
        }
        let package = self.package;
        if let Some(ours) = TABLE.iter().find(|row| same(row.package, other)) {
            let ours = ours.package;
            let allowed = self.may.contains(&ours);
            return (!allowed).then(|| {
                format!(
                    "{package} must not import {ours}; see the diagram in host/docs/architecture.md"
                )
            });
        }
        let meant = |name: &&&str| {
            let (other, name) = (other.replace('-', "_"), name.replace('-', "_"));
            // A family of packages ends with a hyphen; `wat` alone is not `watch`.
            other == name || other.starts_with(&format!("{}_", name.trim_end_matches('_')))
        };
        self.never.iter().find(meant).map(|_| {
            format!("{package} must not import {other}; move the code that needs it to the package that may")
        })
    }
}

fn serving_client(path: &str, first: &str) -> Option<String> {
    let inside = path.strip_prefix("host/server/src/")?;
    let part = inside.split(['/', '.']).next().unwrap_or_default();
    let serves = first == "oarlock_client" && !CLIENT_USERS.contains(&part);
    serves.then(|| "a node must not use the client; only the commands may".to_owned())
}

/// Dependencies that a manifest names, of every kind and for every target.
fn manifests(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree
        .sources
        .iter()
        .filter(|source| source.path.ends_with("/Cargo.toml"))
    {
        let manifest: toml::Table = match source.text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                found.push(Finding::new(
                    &source.path,
                    1,
                    format!("it is no TOML: {error}"),
                ));
                continue;
            }
        };
        let Some(row) = row_of(&source.path) else {
            let what = "the import table lacks this package; add it in tidy/imports.rs";
            found.push(Finding::new(&source.path, 1, what));
            continue;
        };
        for name in dependencies(&manifest) {
            if let Some(what) = row.objection(&name) {
                let named = |line: &str| line.trim_start().starts_with(&name);
                let line = source
                    .lines()
                    .find(|(_, line)| named(line))
                    .map_or(1, |(at, _)| at);
                found.push(Finding::new(&source.path, line, what));
            }
        }
    }
    found
}

fn dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else {
            continue;
        };
        if key.ends_with("dependencies") {
            for (name, spec) in table {
                // A dependency may be renamed; what counts is the package.
                let package = spec
                    .get("package")
                    .and_then(toml::Value::as_str)
                    .unwrap_or(name);
                names.push(package.to_owned());
            }
        } else if key == "target" {
            names.extend(
                table
                    .values()
                    .filter_map(toml::Value::as_table)
                    .flat_map(dependencies),
            );
        }
    }
    names
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> Vec<String> {
        check(&Tree::planted(&[(path, text)]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn is_caught(path: &str, text: &str) {
        let found = planted(path, text);
        assert!(
            found.len() == 1 && found[0].starts_with(path),
            "{path}: {text}: {found:?}"
        );
    }

    #[test]
    fn an_import_that_the_table_does_not_allow_is_found() {
        is_caught("host/raft/src/log.rs", "use oarlock_wasm::Envelope;");
        is_caught("host/raft/src/log.rs", "fn f() -> hyper::Method { g() }");
        is_caught("host/wasm/src/host.rs", "use axum::Router;");
        is_caught("host/client/src/lib.rs", "use task_queue_raft::ids::Term;");
        is_caught("guest-sdk/src/lib.rs", "use oarlock_wasm::CommandOutcome;");
        is_caught(
            "guest-sdk/src/lib.rs",
            "fn f() { g(task_queue_raft::create_raft()) }",
        );
        is_caught("examples-wasm/kv/src/lib.rs", "use tokio::time::sleep;");
        is_caught("host/server/src/http.rs", "use oarlock_guest::Apply;");
    }

    #[test]
    fn the_client_is_for_the_commands_and_not_for_a_node() {
        is_caught(
            "host/server/src/http/apply.rs",
            "use oarlock_client::Client;",
        );
        assert!(
            planted(
                "host/server/src/command/apply.rs",
                "use oarlock_client::Client;"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_dependency_that_the_table_does_not_allow_is_found_at_its_line() {
        let manifest =
            "[package]\nname = \"task_queue_raft\"\n[dev-dependencies]\naxum.workspace = true\n";
        let found = planted("host/raft/Cargo.toml", manifest);
        assert!(
            found[0].starts_with("host/raft/Cargo.toml:4: "),
            "{found:?}"
        );
        is_caught(
            "guest-sdk/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\noarlock-wasm = \"1\"",
        );
        is_caught(
            "host/client/Cargo.toml",
            "[dependencies]\nraft = { package = \"task_queue_raft\" }",
        );
        is_caught("host/new/Cargo.toml", "[package]\nname = \"new\"");
    }

    #[test]
    fn what_the_table_allows_is_not_found() {
        assert!(
            planted(
                "host/wasm/src/machine.rs",
                "use task_queue_raft::ReplicatedStateMachine;"
            )
            .is_empty()
        );
        assert!(planted("tests/src/sim.rs", "use task_queue_raft::driver::Driver;").is_empty());
        let manifest = "[dependencies]\noarlock-wasm = \"1\"\ntask_queue_raft = \"1\"\n";
        assert!(planted("host/server/Cargo.toml", manifest).is_empty());
    }
}
