//! Where a setting was set, so that an error can name the place to correct it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};

use crate::exit::Failure;

/// Where the settings of a command line were set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Flags on the command line, without dashes.
    pub(super) flags: BTreeSet<String>,
    /// The file of `--config`, and the flags that it sets.
    pub(super) file: Option<(PathBuf, BTreeSet<String>)>,
    /// Environment variables that begin with [`PREFIX`].
    pub(super) variables: BTreeSet<String>,
}

/// Where one setting was set. Its display names the setting and the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag(String),
    /// An environment variable.
    Environment(String),
    /// A key in a settings file.
    File(String, PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Environment(variable) => write!(f, "the environment variable {variable}"),
            Self::File(key, path) => write!(f, "`{key}` in {}", path.display()),
        }
    }
}

/// Why a command line was not parsed.
#[derive(Debug)]
pub(crate) enum ParseError {
    /// Help, version, or an error that clap formats.
    Clap(clap::Error),
    /// The settings file, or a setting from a file or the environment, is not valid.
    Settings(Failure),
}

/// Prefix of all environment variables.
pub(super) const PREFIX: &str = "OARLOCK_";

/// The environment variable of a flag.
pub(super) fn variable(flag: &str) -> String {
    // The scripts of users may have the name of a queue in OARLOCK_QUEUE.
    let flag = if flag == "queue" { "new-queue" } else { flag };
    format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase())
}

/// The key of a flag in a settings file.
pub(super) fn key(flag: &str) -> String {
    flag.replace('-', "_")
}

impl Origins {
    /// Where `flag` was set. A flag that was not set counts as set on the command line.
    pub(crate) fn of(&self, flag: &str) -> Origin {
        if self.flags.contains(flag) {
            return Origin::Flag(flag.to_owned());
        }
        if let Some((path, _)) = self.file.as_ref().filter(|(_, given)| given.contains(flag)) {
            return Origin::File(key(flag), path.clone());
        }
        let variable = variable(flag);
        if self.variables.contains(&variable) {
            return Origin::Environment(variable);
        }
        Origin::Flag(flag.to_owned())
    }

    /// Where `flag` was set; `None` if it has its default.
    pub(crate) fn given(&self, flag: &str) -> Option<Origin> {
        let in_file = self.file.as_ref();
        let is_given = self.flags.contains(flag)
            || in_file.is_some_and(|(_, given)| given.contains(flag))
            || self.variables.contains(&variable(flag));
        is_given.then(|| self.of(flag))
    }

    /// Adds the origin to an error of clap, if the value was not set on the command line.
    pub(super) fn explain(&self, error: clap::Error) -> ParseError {
        let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
            return ParseError::Clap(error);
        };
        let flag = argument
            .trim_start_matches('-')
            .split([' ', '='])
            .next()
            .unwrap_or_default();
        match self.of(flag) {
            Origin::Flag(_) => ParseError::Clap(error),
            origin => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let message = first.strip_prefix("error: ").unwrap_or(first);
                ParseError::Settings(Failure::usage(format!(
                    "{message}; the value was set by {origin}: correct it there"
                )))
            }
        }
    }
}
