//! Creates projects.

mod sdk;
mod templates;

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ProjectError;
use crate::kind::ProjectKind;
use crate::language::Language;
use crate::project::{PROJECT_FILE, describe};
use crate::sources::WIT;
use sdk::Sdk;
use templates::{template, with_wit};

/// Longest name of a guest, in bytes. The SDK has the same limit.
const MAX_NAME_BYTES: usize = 64;

/// Names that cargo or the compiler reserve.
const RESERVED_NAMES: [&str; 48] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue",
    "core", "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen",
    "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv",
    "pub", "ref", "return", "self", "static", "std", "struct", "super", "test", "trait", "true",
    "try", "type", "use",
];

/// What a project is created from.
#[derive(Clone, Copy, Debug)]
pub struct NewProject<'n> {
    /// Name of the guest and of the directory: up to 64 characters a-z, 0-9 and -, the first a letter.
    pub name: &'n str,
    /// Language of the sources.
    pub language: Language,
    /// What it contains.
    pub kind: ProjectKind,
    /// The directory in which the project's directory is created.
    pub parent: &'n Path,
    /// Directory of the SDK for Rust. `None`: the one in the source tree of this program, or else a copy in the project.
    pub sdk: Option<&'n Path>,
}

/// A project that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedProject {
    /// Its directory.
    pub folder: PathBuf,
    /// The files to read first, relative to it. Not among them: the WIT, and the copy of the SDK.
    pub files: Vec<&'static str>,
}

/// Creates a project in a new directory.
///
/// # Errors
/// The name is not valid, the directory exists already, or it can't be written; or a queue in another language than Rust.
pub fn create(new: NewProject<'_>) -> Result<CreatedProject, ProjectError> {
    let NewProject {
        name,
        language,
        kind,
        ..
    } = new;
    check_name(name, language)?;
    if kind == ProjectKind::Queue && language != Language::Rust {
        return Err(ProjectError::QueueInRust { language });
    }
    let sdk = match language {
        Language::Rust => Some(Sdk::find(new.sdk, kind)?),
        _ if new.sdk.is_some() => return Err(ProjectError::SdkOfRust { language }),
        _ => None,
    };
    let folder = new.parent.join(name);
    create_folder(&folder)?;
    let dependency = |feature| {
        let dependency = sdk.as_ref().map(|sdk| sdk.dependency(feature));
        dependency.unwrap_or_default()
    };
    let queue = sdk.as_ref().map_or(String::new(), Sdk::queue_dependency);
    let mut files = vec![PROJECT_FILE];
    write(&folder, PROJECT_FILE, &describe(name, language))?;
    for (path, text) in template(language, kind) {
        let text = text
            .replace("{{name}}", name)
            .replace("{{module}}", &name.replace('-', "_"))
            .replace("{{sdk}}", &dependency(None))
            .replace("{{sdk with schema}}", &dependency(Some("schema")))
            .replace("{{queue}}", &queue);
        write(&folder, path, &text)?;
        files.push(path);
    }
    if with_wit(language) {
        for (path, text) in WIT {
            write(&folder, path, text)?;
        }
    }
    if let Some(sdk) = sdk {
        for (path, text) in sdk.files() {
            write(&folder, &path, &text)?;
        }
    }
    Ok(CreatedProject { folder, files })
}

fn check_name(name: &str, language: Language) -> Result<(), ProjectError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain);
    let name = name.to_owned();
    if !fits {
        let longest = MAX_NAME_BYTES;
        return Err(ProjectError::BadName { name, longest });
    }
    if language == Language::Rust && RESERVED_NAMES.contains(&name.as_str()) {
        return Err(ProjectError::ReservedName { name });
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ProjectError {
    |source| ProjectError::Create {
        path: path.to_owned(),
        source,
    }
}

fn create_folder(folder: &Path) -> Result<(), ProjectError> {
    fs::create_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => ProjectError::Exists {
            folder: folder.to_owned(),
        },
        _ => failed(folder)(error),
    })
}

fn write(folder: &Path, path: &str, text: &str) -> Result<(), ProjectError> {
    let path = folder.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed(parent))?;
    }
    fs::write(&path, text).map_err(failed(&path))
}

#[cfg(test)]
mod tests;
