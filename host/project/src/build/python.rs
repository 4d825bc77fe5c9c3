//! Python: `componentize-py` starts the interpreter, imports the program and keeps what memory then contains.

use std::process::Command;

use crate::error::ProjectError;
use crate::project::Project;
use crate::tools::{Progress, is_installed, note_installed, run};

const NEEDS: &str = "A guest in Python needs Python 3.10 or later with its module venv (Debian: `apt-get install python3 python3-venv`), and the Python package index for the first build";

/// The tools of the build, in exact versions.
const REQUIREMENTS: &str = "requirements.txt";

pub(super) fn build(project: &Project, progress: Progress<'_>) -> Result<(), ProjectError> {
    let dir = &project.dir;
    let environment = dir.join(".venv");
    let programs = environment.join("bin");
    let (wanted, copy) = (dir.join(REQUIREMENTS), environment.join(REQUIREMENTS));
    if !is_installed(&wanted, &copy) {
        progress("installing the tools of requirements.txt into .venv (once)");
        let mut venv = Command::new("python3");
        run(
            venv.args(["-m", "venv", "--clear"]).arg(&environment),
            NEEDS,
        )?;
        let mut pip = Command::new(programs.join("python"));
        pip.args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(&wanted);
        run(&mut pip, NEEDS)?;
        note_installed(&wanted, &copy)?;
    }
    progress("building with componentize-py");
    let mut componentize = Command::new(programs.join("componentize-py"));
    componentize
        .arg("--wit-path")
        .arg(project.wit())
        .args(["--world", "service", "--quiet", "componentize", "app"])
        .arg("--python-path")
        .arg(dir.join("src"))
        .arg("--output")
        .arg(project.module())
        .env_remove("VIRTUAL_ENV");
    run(&mut componentize, NEEDS).map(drop)
}
