//! JavaScript: `componentize-js` starts the engine of Firefox, runs the program and keeps what memory then contains.

use std::process::Command;

use crate::error::ProjectError;
use crate::project::Project;
use crate::tools::{Progress, is_installed, note_installed, run};

const NEEDS: &str = "A guest in JavaScript needs Node.js 20 or later with npm (Debian: `apt-get install nodejs npm`), and the npm registry for the first build";

/// The tools of the build, in exact versions.
const LOCK: &str = "package-lock.json";

pub(super) fn build(project: &Project, progress: Progress<'_>) -> Result<(), ProjectError> {
    let dir = &project.dir;
    let modules = dir.join("node_modules");
    let (wanted, copy) = (dir.join(LOCK), modules.join(".oarlock-lock.json"));
    if !is_installed(&wanted, &copy) {
        progress("installing the tools of package-lock.json into node_modules (once)");
        let mut npm = Command::new("npm");
        npm.current_dir(dir).args([
            "ci",
            "--loglevel=error",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]);
        run(&mut npm, NEEDS)?;
        note_installed(&wanted, &copy)?;
    }
    progress("building with componentize-js");
    // Without the parts of the engine that would import HTTP. Relative paths, because stack traces contain them.
    let mut componentize = Command::new("node");
    componentize
        .current_dir(dir)
        .arg("node_modules/@bytecodealliance/componentize-js/src/cli.js")
        .args(["src/app.js", "--wit", "wit", "--world-name", "service"])
        .args(["--disable", "http", "fetch-event"])
        .arg("--out")
        .arg(project.module());
    run(&mut componentize, NEEDS).map(drop)
}
