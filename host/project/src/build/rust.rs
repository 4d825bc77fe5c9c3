//! Rust: cargo, for `wasm32-unknown-unknown`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::ProjectError;
use crate::project::Project;
use crate::tools::{Progress, run};

const TARGET: &str = "wasm32-unknown-unknown";
const NEEDS: &str = "A guest in Rust needs cargo and the target wasm32-unknown-unknown: install Rust with rustup, then run `rustup target add wasm32-unknown-unknown`";

pub(super) fn build(project: &Project, progress: Progress<'_>) -> Result<(), ProjectError> {
    require_target(&project.dir)?;
    progress("building with cargo");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&project.dir)
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics");
    let messages = run(&mut cargo, NEEDS)?;
    let built = artifact(&String::from_utf8_lossy(&messages)).ok_or_else(|| {
        let path = project.dir.join("Cargo.toml");
        let reason = "cargo built no module; add `crate-type = [\"cdylib\", \"rlib\"]` to [lib]";
        ProjectError::BadManifest {
            path,
            reason: reason.to_owned(),
        }
    })?;
    let module = project.module();
    let copied = fs::copy(&built, &module);
    copied
        .map(drop)
        .map_err(ProjectError::file("write", &module))
}

/// Without the target the error of the compiler is about a missing crate `core`.
fn require_target(dir: &Path) -> Result<(), ProjectError> {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(dir)
        .args(["--print", "target-libdir", "--target", TARGET]);
    let library = run(&mut rustc, NEEDS)?;
    let library = PathBuf::from(String::from_utf8_lossy(&library).trim());
    if library.is_dir() {
        return Ok(());
    }
    Err(ProjectError::Missing {
        missing: format!("the Rust toolchain has no target {TARGET}"),
        needs: NEEDS,
    })
}

/// The module among cargo's messages: the last one that it lists is that of the package itself.
fn artifact(messages: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        if message["reason"] != "compiler-artifact" {
            return None;
        }
        let files = message["filenames"].as_array()?;
        let mut names = files.iter().filter_map(Value::as_str);
        names
            .find(|name| name.ends_with(".wasm"))
            .map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_among_the_messages_of_cargo() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/t/libserde.rlib"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","filenames":["/t/seats.wasm","/t/libseats.rlib"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n"
        );
        assert_eq!(artifact(messages), Some(PathBuf::from("/t/seats.wasm")));
        assert_eq!(artifact("not JSON\n"), None);
    }
}
