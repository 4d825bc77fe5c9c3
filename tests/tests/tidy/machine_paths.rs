//! No file names a path or a registry of the machine that it was written on: it would work nowhere else.

use super::tree::{Finding, Tree};

/// Files that look for such names themselves.
const LOOK_FOR_THEM: [&str; 2] = [
    "tests/tests/tidy/machine_paths.rs",
    "tests/xtask/src/guests/tests.rs",
];

/// Home and work folders.
const FOLDERS: [&str; 6] = [
    "/root/",
    "/home/",
    "/Users/",
    "/work/",
    "C:\\Users\\",
    "/mnt/",
];

/// Hosts of package registries and their mirrors. A build names the registry, never a host.
const HOSTS: [&str; 12] = [
    "index.crates.io",
    "static.crates.io",
    "crates.io/api",
    "registry.npmjs.org",
    "pypi.org",
    "pythonhosted.org",
    "proxy.golang.org",
    "deb.debian.org",
    "rsproxy",
    "artifactory",
    "jfrog",
    "nexus.",
];

/// What Cargo.lock calls the public registry.
const PUBLIC: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in tree
        .sources
        .iter()
        .filter(|source| !LOOK_FOR_THEM.contains(&source.path.as_str()))
    {
        for (line, text) in source.lines() {
            if let Some(folder) = FOLDERS.iter().find(|folder| names_folder(text, folder)) {
                let what = format!(
                    "it names a folder of some machine, {folder}; make it relative, or ask the system"
                );
                found.push(Finding::new(&source.path, line, what));
            }
            if let Some(host) = HOSTS.iter().find(|host| text.contains(**host)) {
                let what = format!(
                    "it names a registry's host, {host}; leave that to the tool's configuration"
                );
                found.push(Finding::new(&source.path, line, what));
            }
            if source.path.ends_with("Cargo.lock") && is_foreign(text) {
                let what = "a package comes from somewhere else than the public registry; take it from there";
                found.push(Finding::new(&source.path, line, what));
            }
        }
    }
    found
}

/// Whether the folder stands at the start of a path, not within one.
fn names_folder(text: &str, folder: &str) -> bool {
    text.match_indices(folder).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"./_-~}>".contains(before))
    })
}

fn is_foreign(line: &str) -> bool {
    let source = line.trim().strip_prefix("source = \"");
    source.is_some_and(|source| source.trim_end_matches('"') != PUBLIC)
}

mod tests {
    use super::*;

    fn planted(path: &str, text: &str) -> usize {
        check(&Tree::planted(&[(path, text)])).len()
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        assert_eq!(
            planted("host/raft/src/x.rs", "const P: &str = \"/root/x\";"),
            1
        );
        assert_eq!(planted("README.md", "cd /home/me/oarlock"), 1);
        assert_eq!(planted(".ci/run", "cd /work/main"), 1);
        assert_eq!(
            planted("README.md", "GET /v1/work/items and host/root/x"),
            0
        );
    }

    #[test]
    fn a_registry_that_is_not_the_public_one_is_found() {
        assert_eq!(
            planted(
                "Cargo.lock",
                "source = \"registry+https://example.com/index\"\n"
            ),
            1
        );
        assert_eq!(
            planted("Cargo.lock", "source = \"git+https://example.com/x#1\"\n"),
            1
        );
        assert_eq!(
            planted("Cargo.lock", &format!("source = \"{PUBLIC}\"\n")),
            0
        );
        assert_eq!(
            planted(
                ".cargo/config.toml",
                "registry = \"sparse+https://index.crates.io/\""
            ),
            1
        );
    }
}
