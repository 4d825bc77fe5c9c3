//! Where the binary and the guests are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// The `oarlock` binary of the profile that these tests are built with. Cargo builds no binary of another package for
/// a test, so the first call has it built; where nothing has changed since, that takes a moment. `OARLOCK_TEST_BINARY`
/// names another one, such as that of an earlier version, on which a test must fail.
///
/// # Panics
/// If it does not build.
pub fn oarlock() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(other) = std::env::var_os("OARLOCK_TEST_BINARY") {
            return PathBuf::from(other);
        }
        let own = std::env::current_exe().expect("the test's own path");
        // A test is target/<profile>/deps/<test>, a program of this package target/<profile>/<program>.
        let folder = own.parent().expect("a file lies in a folder");
        let profile_dir = if folder.ends_with("deps") {
            folder.parent().expect("target/<profile>")
        } else {
            folder
        };
        let mut build = cargo();
        build
            .args([
                "build",
                "--quiet",
                "--offline",
                "--workspace",
                "--bin",
                "oarlock",
            ])
            .current_dir(root());
        // Some build scripts run again if these differ, and then everything above them is built again. The cargo that has started
        // this test does not have them.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        let target_dir = profile_dir.parent().expect("target/<profile>");
        let built = build
            .arg("--target-dir")
            .arg(target_dir)
            .output()
            .expect("cargo runs");
        assert!(
            built.status.success(),
            "the binary does not build:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        profile_dir.join("oarlock")
    })
}

/// Cargo, without the variables that Cargo has set for this test: some build scripts would run again because of them, and all
/// that depends on them would be built again.
pub(super) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Where Cargo puts what it builds.
pub(super) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| root().join("target"))
}

/// A committed guest, by its name, or the one in `OARLOCK_TEST_GUESTS`: the gate runs these tests on freshly built
/// guests too. Those of the tests are next to the examples, and one that is not committed is where
/// `cargo xtask guests --languages` puts it.
pub fn guest(name: &str) -> PathBuf {
    let file = format!("{name}.wasm");
    let fresh = std::env::var_os("OARLOCK_TEST_GUESTS").map(|dir| root().join(dir));
    let kept = ["examples-wasm/dist", "tests/guests"].map(|dir| root().join(dir));
    let mut dirs: Vec<PathBuf> = match &fresh {
        Some(dir) => vec![dir.clone()],
        None => kept.to_vec(),
    };
    dirs.push(target().join("languages"));
    let mut places = dirs.iter().map(|dir| dir.join(&file));
    places
        .find(|place| place.is_file())
        .unwrap_or_else(|| dirs[0].join(&file))
}

/// Runs `oarlock` to its end, with nothing on its standard input.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    run_in(Path::new("."), args)
}

/// The same in a directory.
///
/// # Panics
/// If it can't be started.
pub fn run_in<S: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> Output {
    Command::new(oarlock())
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("oarlock starts")
}
