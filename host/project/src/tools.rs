//! Programs that a build runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::ProjectError;

/// Reports what a build does now, for people.
pub(crate) type Progress<'p> = &'p mut dyn FnMut(&str);

/// Runs a program to its end. Its standard error is that of this process; its standard output is the result.
///
/// # Errors
/// It can't be started, or fails. `needs` tells what to install, and how.
pub(crate) fn run(command: &mut Command, needs: &'static str) -> Result<Vec<u8>, ProjectError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .and_then(std::process::Child::wait_with_output);
    let output = started.map_err(|source| ProjectError::MissingTool {
        program: program.clone(),
        source,
        needs,
    })?;
    if !output.status.success() {
        return Err(ProjectError::ToolFailed {
            program,
            status: output.status.to_string(),
            needs,
        });
    }
    Ok(output.stdout)
}

/// Whether a file has the same content as the copy of it that was made after its tools were installed.
pub(crate) fn is_installed(wanted: &Path, copy: &Path) -> bool {
    match (fs::read(wanted), fs::read(copy)) {
        (Ok(wanted), Ok(copy)) => wanted == copy,
        _ => false,
    }
}

/// Makes that copy.
pub(crate) fn note_installed(wanted: &Path, copy: &Path) -> Result<(), ProjectError> {
    let copied = fs::copy(wanted, copy);
    copied.map(drop).map_err(ProjectError::file("write", copy))
}
