//! The type checkers of generated clients, which `cargo xtask checkers` installs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::module::text;

/// Checks these Python files of a folder with mypy.
///
/// # Panics
/// If it finds an error, or is not installed.
pub fn mypy(folder: &Path, files: &[&str]) {
    let mut mypy = Command::new(installed("mypy/bin/mypy"));
    mypy.current_dir(folder)
        .args(["--strict", "--cache-dir", ".cache"])
        .args(files);
    succeeds(&mut mypy);
}

/// Checks these TypeScript files of a folder, and compiles them to JavaScript.
///
/// # Panics
/// As [`mypy`].
pub fn tsc(folder: &Path, files: &[&str]) {
    std::fs::write(folder.join("package.json"), r#"{"type":"module"}"#).expect("written");
    let mut tsc = Command::new("node");
    tsc.current_dir(folder)
        .arg(installed("typescript/node_modules/typescript/bin/tsc"))
        .args([
            "--strict",
            "--noUncheckedIndexedAccess",
            "--noImplicitOverride",
            "--exactOptionalPropertyTypes",
            "--noUnusedLocals",
        ])
        .args(["--target", "es2022", "--module", "es2022"])
        .args(["--moduleResolution", "bundler"])
        .args(["--lib", "es2022,dom,dom.iterable"])
        .args(files);
    succeeds(&mut tsc);
}

fn installed(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let tool = target.join("languages/tools").join(path);
    assert!(
        tool.exists(),
        "{} is missing; `cargo xtask checkers` installs it",
        tool.display()
    );
    tool
}

fn succeeds(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}
