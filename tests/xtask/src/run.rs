//! Running other programs.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sources::SourcesError;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be started.
    #[error("`{program}` could not be started: {source}; is it installed?")]
    Start {
        /// Its name.
        program: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error of its own.
    #[error("`{command}` failed ({status}){}", shown_stderr(.stderr))]
    Failed {
        /// The command as it was run.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it wrote to standard error, if that was kept.
        stderr: String,
    },
    /// A file could not be read or written.
    #[error("{doing} {path}: {source}", path = path.display())]
    File {
        /// What was being done, such as `writing`.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The sources of the guests could not be read.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// Something is not as it has to be.
    #[error("{0}")]
    Unmet(String),
}

fn shown_stderr(stderr: &str) -> String {
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {}", stderr.trim())
    }
}

impl Error {
    /// A failed access to a file.
    pub fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }
}

/// Runs a command and shows what it writes.
///
/// # Errors
///
/// It could not be started, or it failed.
pub fn run(command: &mut Command) -> Result<(), Error> {
    let status = command
        .status()
        .map_err(|source| not_started(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        command: shown(command),
        status,
        stderr: String::new(),
    })
}

/// Runs a command and gives back what it wrote to standard output, without the last line's end.
///
/// # Errors
///
/// It could not be started, or it failed.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let output = command
        .output()
        .map_err(|source| not_started(command, source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Failed {
        command: shown(command),
        status: output.status,
        stderr,
    })
}

fn not_started(command: &Command, source: io::Error) -> Error {
    Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}

fn shown(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
