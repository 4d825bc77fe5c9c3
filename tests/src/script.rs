//! Scenario scripts: commands to a small cluster of real cores, and below each the actions of the nodes.
//!
//! A script is a text file under `tests/scripts`. A line that begins with `#` is a comment, a line that begins with
//! two spaces is output, any other line is a command:
//!
//! ```text
//! # One node alone.
//! nodes 1
//!
//! campaign 1
//!   1 is pre-candidate, t0
//!   ...
//! ```
//!
//! A run leaves comments and commands as they are and writes the output anew. The test compares the result with the
//! file, so the file is both the scenario and its expected output. No part of a run depends on the machine: each node
//! has its own time, which advances only by commands.
//!
//! | command | does |
//! |---|---|
//! | `nodes 3 [option=N …]` | starts a cluster of voters 1, 2, 3; options see [`cluster::Options`] |
//! | `campaign N` | the election timeout of N passes: its clock moves to its end |
//! | `tick N` | the clock of N moves to its next deadline |
//! | `elapse MS [N …]` | time passes unnoticed, on all nodes or those named |
//! | `propose N text …` | one proposal with a command for each text |
//! | `read N ID` | a linearizable read |
//! | `change N learner 4`, `voter 4`, `promote 4`, `remove 3`, `replace 3 4` | one step of a change of the members |
//! | `change N members voters=(1,2) learners=(3)` | the same: these are to be the members |
//! | `transfer N [M]` | N transfers its leadership to M, or to the most up-to-date voter |
//! | `forget N` | N clears its leader |
//! | `deliver [N …] [from=(…)] [drop=(…)] [count=C]` | delivers what is in flight to N, loses what is in flight to those in `drop` |
//! | `stabilize [N …]` | delivers messages among these until none is in flight to them |
//! | `disk N slow` or `fast` | slow: tasks of the disk wait for `persist` |
//! | `persist N [C]` | the disk of N finishes a task, or C of them |
//! | `machine N slow` or `fast` | slow: the state machine gets entries and completes none |
//! | `compact N` | N takes a snapshot now |
//! | `restart N` | N loses its memory and what its disk has not finished, and starts again |
//! | `show [N …]`, `log N` | prints state, or the entries on the disk |
//!
//! `quiet` before a command hides its output.

mod change;
mod cluster;
mod command;
mod node;
mod print;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use cluster::{Cluster, Options};
pub use command::Command;

/// Why a script could not be run.
#[derive(Debug, Error)]
pub enum ScriptError {
    /// A line that is no command.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs a script, and returns it with the output that it has now.
///
/// # Errors
/// If a line is no command, or a command fails.
pub fn run(text: &str) -> Result<String, ScriptError> {
    let mut cluster = Cluster::default();
    let mut written = String::new();
    let commands = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.starts_with("  "));
    for (at, line) in commands {
        written.push_str(line.trim_end());
        written.push('\n');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (loud, command) = match line.strip_prefix("quiet ") {
            Some(rest) => (false, rest),
            None => (true, line),
        };
        let output = Command::parse(command)
            .and_then(|command| cluster.carry_out(&command))
            .map_err(|what| ScriptError::Line { line: at + 1, what })?;
        for line in output.iter().filter(|_| loud) {
            written.push_str("  ");
            written.push_str(line);
            written.push('\n');
        }
    }
    Ok(written)
}

/// The scripts of a folder, by name.
///
/// # Errors
/// Where the folder can't be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, ScriptError> {
    let failed = |source| ScriptError::File {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "txt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What became of one script.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It shows what the nodes do.
    Same,
    /// The first line that differs: its number, the line of the file, the line of the nodes.
    Differs(usize, String, String),
}

/// Runs a script file. With `rewrite`, its output is replaced by the current one.
///
/// # Errors
/// As [`run`], or where the file can't be read or written.
pub fn check(path: &Path, rewrite: bool) -> Result<Verdict, ScriptError> {
    let failed = |source| ScriptError::File {
        path: path.to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(failed)?;
    let now = run(&text)?;
    if rewrite && now != text {
        fs::write(path, &now).map_err(failed)?;
    }
    Ok(compare(&text, &now))
}

fn compare(then: &str, now: &str) -> Verdict {
    if then == now {
        return Verdict::Same;
    }
    let (mut before, mut after) = (then.lines(), now.lines());
    let mut line = 1;
    loop {
        match (before.next(), after.next()) {
            (Some(shown), Some(done)) if shown == done => line += 1,
            (shown, done) => {
                let text = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return Verdict::Differs(line, text(shown), text(done));
            }
        }
    }
}
