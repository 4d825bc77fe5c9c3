//! The binary of the release before: its sources, with the dependencies of this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::binary::{cargo, root, target};

/// The last commit before cluster levels: its nodes know level 0 only.
const COMMIT: &str = "eb38b8defe8ed7002a0b9840d13a416ccc03a0c4";

/// Folders of that commit from which the binary is built.
const SOURCES: [&str; 7] = [
    "host/client/src",
    "host/raft/src",
    "host/server/src",
    "host/wasm/src",
    "wit",
    "examples-wasm/dist",
    "guest-sdk/clippy.toml",
];

/// The manifest that names the binary.
const MANIFEST: &str = "host/server/Cargo.toml";

/// Its name. It differs, so that both binaries can be in one folder.
const NAME: &str = "oarlock-before";

/// The binary of the release before. `OARLOCK_TEST_RELEASE_BEFORE` names another one.
///
/// It is built from the sources of a commit of this repository. The manifests are those of this tree, so the libraries of others,
/// which take most of the time, are the ones that are built already.
///
/// # Panics
/// If the history lacks the commit, or it does not build.
pub fn release_before() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(other) = std::env::var_os("OARLOCK_TEST_RELEASE_BEFORE") {
            return PathBuf::from(other);
        }
        let tree = target().join("tests/before");
        lay_out(&tree);
        let target = target();
        succeeds(
            cargo()
                .args([
                    "build",
                    "--quiet",
                    "--offline",
                    "--workspace",
                    "--bin",
                    NAME,
                    "--target-dir",
                ])
                .arg(&target)
                .current_dir(&tree),
        );
        target.join("debug").join(NAME)
    })
}

/// A file of the release before.
///
/// # Panics
/// If the history lacks its commit.
pub fn file_before(path: &str) -> Vec<u8> {
    require_commit();
    succeeds(&mut git(&["show", &format!("{COMMIT}:{path}")]))
}

/// Why the release before can't be had here: these sources come without their history.
#[must_use]
pub fn lacks_history() -> Option<&'static str> {
    if std::env::var_os("OARLOCK_TEST_RELEASE_BEFORE").is_some() || knows_commit() {
        return None;
    }
    let shallow = git(&["rev-parse", "--is-shallow-repository"]).output();
    match shallow {
        Ok(output) if output.stdout.starts_with(b"false") => None,
        Ok(output) if output.stdout.starts_with(b"true") => {
            Some("the clone is shallow; run `git fetch --unshallow`")
        }
        _ => Some("this is no repository of git"),
    }
}

fn knows_commit() -> bool {
    let known = git(&["cat-file", "-e", &format!("{COMMIT}^{{commit}}")]).output();
    known.is_ok_and(|known| known.status.success())
}

fn require_commit() {
    assert!(
        knows_commit(),
        "the history of this repository lacks {COMMIT}, the release before: fetch it with `git fetch --unshallow`, or name \
         a binary of it in OARLOCK_TEST_RELEASE_BEFORE"
    );
}

/// Runs a program that must succeed, and returns what it printed.
fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

fn git(args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root()).args(args);
    git
}

/// Writes this tree with the sources of the commit. Files that are the same keep their times, so that nothing is built again.
fn lay_out(tree: &Path) {
    require_commit();
    let files = succeeds(&mut git(&["ls-files", "-z"]));
    let files = String::from_utf8(files).expect("names in UTF-8");
    let is_of_the_commit = |file: &str| {
        let mut sources = SOURCES.iter();
        sources.any(|source| Path::new(file).starts_with(source))
    };
    let names = files.split_terminator('\0');
    for file in names.filter(|file| !is_of_the_commit(file)) {
        // A file may be deleted and still be known to git.
        if let Ok(content) = fs::read(root().join(file)) {
            write(&tree.join(moved(file)), changed(file, content));
        }
    }
    let archive = tree.join("archive");
    let _ = fs::remove_dir_all(&archive);
    fs::create_dir_all(&archive).expect("a folder");
    let packed = succeeds(git(&["archive", "--format=tar", COMMIT, "--"]).args(SOURCES));
    let file = tree.join("archive.tar");
    fs::write(&file, packed).expect("a file");
    // The files get the time of the commit.
    succeeds(
        Command::new("tar")
            .arg("-xf")
            .arg(&file)
            .arg("-C")
            .arg(&archive),
    );
    for source in SOURCES {
        let to = tree.join(moved(source));
        if to.is_dir() {
            fs::remove_dir_all(&to).expect("a folder of an earlier run");
        }
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::rename(archive.join(source), to).expect("what git has written");
    }
}

/// Where a file of the repository is in the tree. Cargo names what it builds by the path in the workspace, so the packages of
/// the host have another one: in one target directory they would overwrite those of this tree.
fn moved(file: &str) -> String {
    match file.strip_prefix("host/") {
        Some(rest) => format!("before/{rest}"),
        None => file.to_owned(),
    }
}

/// The content of a file in the tree.
fn changed(file: &str, content: Vec<u8>) -> Vec<u8> {
    let text = |content| String::from_utf8(content).expect("a manifest");
    match file {
        "Cargo.toml" => text(content).replace("\"host/", "\"before/").into(),
        MANIFEST => {
            let bin = format!("\n[[bin]]\nname = \"{NAME}\"\npath = \"src/main.rs\"\n");
            (text(content) + &bin).into()
        }
        _ => content,
    }
}

fn write(to: &Path, content: Vec<u8>) {
    if fs::read(to).is_ok_and(|found| found == content) {
        return;
    }
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::write(to, content).expect("a file");
}
