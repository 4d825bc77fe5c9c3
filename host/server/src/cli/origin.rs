//! Where a setting came from, so that an error about it can say where to change it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};

use super::ParseError;
use crate::exit::Failure;

/// Where settings came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Flags that the command line names, without dashes.
    pub(super) flags: BTreeSet<String>,
    /// The file of `--config`, and the flags that it gave.
    pub(super) file: Option<(PathBuf, BTreeSet<String>)>,
    /// The variables of the environment that stand for flags.
    pub(super) variables: BTreeSet<String>,
}

/// The place where one setting came from. Its display names setting and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag(String),
    /// A variable of the environment.
    Environment(String),
    /// A file.
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

/// How the names of all variables begin.
pub(super) const PREFIX: &str = "OARLOCK_";

/// The variable that stands for a flag.
pub(super) fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase())
}

/// The key of a file that stands for a flag.
pub(super) fn key(flag: &str) -> String {
    flag.replace('-', "_")
}

impl Origins {
    /// Where the setting of `flag` came from; the flag itself where it was not set at all.
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

    /// An error of clap about a value that is not from the command line says where it is from.
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
                let words = first.strip_prefix("error: ").unwrap_or(first);
                ParseError::Settings(Failure::usage(format!(
                    "{words}; the value comes from {origin}: correct it there"
                )))
            }
        }
    }
}
