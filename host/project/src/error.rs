//! Why a project can't be created, found or built.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::language::Language;

/// Why a project can't be created, found or built.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The name of a new project is not valid.
    #[error(
        "the name {name:?} is not valid; use 1 to {longest} characters a-z, 0-9 and -, the first a letter"
    )]
    BadName {
        /// The name.
        name: String,
        /// Most bytes of a name.
        longest: usize,
    },
    /// The name is reserved.
    #[error("the name {name:?} is reserved by cargo or the Rust compiler; choose another name")]
    ReservedName {
        /// The name.
        name: String,
    },
    /// The directory of the SDK is none.
    #[error(
        "--sdk is not a directory with a Cargo.toml; pass the directory guest-sdk, or omit the flag"
    )]
    NotSdk,
    /// An SDK was given for a language that has none.
    #[error("--sdk is the SDK for Rust, but the language is {language}; omit the flag")]
    SdkOfRust {
        /// The language.
        language: Language,
    },
    /// The task queue is a library for Rust only.
    #[error("rules of the queue are written in Rust, but the language is {language}; omit --lang")]
    QueueInRust {
        /// The language.
        language: Language,
    },
    /// The task queue is not in the repository of the SDK.
    #[error(
        "the source tree of the SDK has no `examples-wasm/queue`; pass `--sdk` with the directory `guest-sdk` of a complete source tree"
    )]
    NoQueueNearSdk,
    /// The directory of a new project exists.
    #[error("{} already exists, and nothing in it was changed; choose another name or --dir", folder.display())]
    Exists {
        /// The directory.
        folder: PathBuf,
    },
    /// A file or directory of a new project can't be written.
    #[error("cannot write {}: {source}; choose a writable directory with --dir", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The directory contains no project.
    #[error(
        "{} is not a project of a guest: it has neither {} nor Cargo.toml; run this in the project's directory, pass it as DIR, or create a project with `oarlock new`",
        dir.display(),
        crate::project::PROJECT_FILE
    )]
    NoProject {
        /// The directory.
        dir: PathBuf,
    },
    /// A file that describes the project is invalid.
    #[error("{} is not valid: {reason}", path.display())]
    BadManifest {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file of a build can't be read or written.
    #[error("cannot {action} {}: {source}; check the permissions of the project's directory", path.display())]
    File {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A program that the build needs is missing.
    #[error("`{program}` can't be started: {source}; {needs}")]
    MissingTool {
        /// The program.
        program: String,
        /// The error of the operating system.
        source: io::Error,
        /// What to install, and how.
        needs: &'static str,
    },
    /// A program that the build needs failed. It has printed its messages on standard error.
    #[error(
        "`{program}` failed ({status}); its messages are above. Correct what they name. {needs}"
    )]
    ToolFailed {
        /// The program.
        program: String,
        /// Its exit code or signal.
        status: String,
        /// What the build needs, and how to install it.
        needs: &'static str,
    },
    /// The build needs something that no program reports.
    #[error("{missing}; {needs}")]
    Missing {
        /// What is missing.
        missing: String,
        /// How to install it.
        needs: &'static str,
    },
    /// No bindings can be made from the project's WIT.
    #[error("no bindings can be made from {}: {message}; restore the files that `oarlock new` wrote", wit.display())]
    Bindings {
        /// The directory of the WIT.
        wit: PathBuf,
        /// The error.
        message: String,
    },
}

impl ProjectError {
    /// Whether the command line is wrong, as opposed to the project or the machine.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::BadName { .. }
                | Self::ReservedName { .. }
                | Self::NotSdk
                | Self::SdkOfRust { .. }
                | Self::QueueInRust { .. }
                | Self::NoQueueNearSdk
        )
    }

    /// Adds action and path to an error of the operating system.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
