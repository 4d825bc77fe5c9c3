//! The type checkers of generated clients, in exactly these versions, into folders of their own below `target`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Error, output, run};

/// For Python.
const MYPY: &str = "2.4.1";
/// What mypy needs.
const MYPY_NEEDS: [&str; 5] = [
    "ast_serialize==0.13.1",
    "librt==0.17.0",
    "mypy_extensions==1.2.0",
    "pathspec==1.1.1",
    "typing_extensions==4.16.0",
];
/// For TypeScript. This version needs no other package.
const TYPESCRIPT: &str = "5.9.3";

/// Installs what is missing.
///
/// # Errors
/// A registry is not reachable, or python3, node or npm is missing.
pub fn install(root: &Path) -> Result<(), Error> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let tools = target.join("languages").join("tools");
    let (python, script) = (tools.join("mypy"), tools.join("typescript"));
    for folder in [&python, &script] {
        fs::create_dir_all(folder).map_err(Error::file("making the folder", folder))?;
    }
    let checker = python.join("bin/mypy");
    let is_there = |tool: &mut Command, version: &str| {
        let shown = output(tool.arg("--version"));
        shown.is_ok_and(|shown| shown.contains(version))
    };
    if !(checker.exists() && is_there(&mut Command::new(&checker), MYPY)) {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&python))?;
        run(Command::new(python.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
            ])
            .arg(format!("mypy=={MYPY}"))
            .args(MYPY_NEEDS))?;
    }
    println!("mypy {MYPY}: {}", checker.display());
    let compiler = script.join("node_modules/typescript/bin/tsc");
    if !(compiler.exists() && is_there(Command::new("node").arg(&compiler), TYPESCRIPT)) {
        let package = script.join("package.json");
        fs::write(&package, "{\"private\":true}\n").map_err(Error::file("writing", &package))?;
        run(Command::new("npm")
            .current_dir(&script)
            .args([
                "install",
                "--silent",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--save-exact",
            ])
            .arg(format!("typescript@{TYPESCRIPT}")))?;
    }
    println!("typescript {TYPESCRIPT}: {}", compiler.display());
    Ok(())
}
