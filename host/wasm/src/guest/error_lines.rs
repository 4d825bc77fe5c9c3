//! The last lines that a guest wrote about an error in a call, and what a failure quotes of them.
//!
//! A runtime writes its reason to standard error before it traps, each in its own format. The result is for people: it is
//! not part of the replicated state, and nodes may differ in it.

use std::collections::VecDeque;

/// Most lines that are kept.
const MAX_LINES: usize = 64;
/// Most bytes that are kept.
const MAX_BYTES: usize = 16 << 10;
/// Longest quote, in bytes.
const QUOTE_BYTES: usize = 1024;

/// What precedes the frames of an exception in Python, innermost last.
const PYTHON_FRAMES: &str = "Traceback (most recent call last):";
/// What precedes the frames of an exception in JavaScript, innermost first.
const JAVASCRIPT_FRAMES: &str = "Stack:";
/// Lines that runtimes add to every error.
const ADDED: [&str; 2] = [
    "note: run with `RUST_BACKTRACE=",
    "Redirecting call to abort() to mozalloc_abort",
];

/// The last lines of one call.
#[derive(Debug, Default)]
pub(crate) struct ErrorLines {
    lines: VecDeque<String>,
    bytes: usize,
}

impl ErrorLines {
    /// Adds a line, and drops the oldest ones over the limits.
    pub(crate) fn push(&mut self, line: &str) {
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
        }
    }

    /// The exception or panic that the lines report, on one line: its type, its text and its place. Otherwise the last
    /// line. `None`: there is no line.
    pub(crate) fn quote(&self) -> Option<String> {
        let lines: Vec<&str> = self.lines.iter().flat_map(|line| line.lines()).collect();
        let quote = python(&lines)
            .or_else(|| javascript(&lines))
            .or_else(|| rust(&lines))
            .or_else(|| last(&lines))?;
        let end = quote.floor_char_boundary(QUOTE_BYTES);
        Some(quote[..end].to_owned())
    }
}

/// `ValueError: no (machine.py, line 37, in apply)`, of
///
/// ```text
/// Traceback (most recent call last):
///   File "/0/app.py", line 24, in apply
///   File "/0/machine.py", line 37, in apply
/// ValueError: no
/// ```
fn python(lines: &[&str]) -> Option<String> {
    let start = lines.iter().rposition(|line| *line == PYTHON_FRAMES)?;
    let rest = &lines[start + 1..];
    let end = rest.iter().position(|line| !line.starts_with(' '))?;
    let exception = rest[end].trim();
    if exception.is_empty() {
        return None;
    }
    let frame = rest[..end].iter().rev().find_map(|line| {
        let frame = line.trim_start().strip_prefix("File \"")?;
        frame.split_once("\", ")
    });
    Some(match frame {
        Some((file, place)) => format!("{exception} ({}, {place})", file_name(file)),
        None => exception.to_owned(),
    })
}

/// `TypeError: no (machine.js:37:9, in apply)`, of
///
/// ```text
/// TypeError: no
/// Stack:
///   apply@src/machine.js:37:9
///   apply@src/app.js:33:30
/// ```
fn javascript(lines: &[&str]) -> Option<String> {
    let stack = lines.iter().rposition(|line| *line == JAVASCRIPT_FRAMES)?;
    let exception = lines[..stack].last()?.trim();
    let frame = lines.get(stack + 1)?.trim().split_once('@');
    Some(match frame {
        Some((function, place)) => format!("{exception} ({}, in {function})", file_name(place)),
        None => exception.to_owned(),
    })
}

/// `panicked at src/lib.rs:37:9: no`, of
///
/// ```text
/// thread 'main' panicked at src/lib.rs:37:9:
/// no
/// ```
fn rust(lines: &[&str]) -> Option<String> {
    let at = lines
        .iter()
        .rposition(|line| line.contains("panicked at "))?;
    let panic = lines[at];
    let panic = &panic[panic.find("panicked at ")?..];
    let text = lines.get(at + 1).filter(|_| panic.ends_with(':'));
    Some(match text {
        Some(text) => format!("{panic} {}", text.trim()),
        None => panic.to_owned(),
    })
}

fn last(lines: &[&str]) -> Option<String> {
    let is_own = |line: &&&str| {
        let line = line.trim();
        !line.is_empty() && !ADDED.iter().any(|added| line.starts_with(added))
    };
    let line = lines.iter().rev().find(is_own)?;
    Some(line.trim().to_owned())
}

/// A path without its directories, which are those of the machine that built the module.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
