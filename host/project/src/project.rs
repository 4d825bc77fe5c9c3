//! A project: a directory with `oarlock.toml`, or with the `Cargo.toml` of a guest in Rust.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::ProjectError;
use crate::language::Language;

/// The file that describes a project.
pub const PROJECT_FILE: &str = "oarlock.toml";

/// Largest file that describes a project, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A project on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The absolute path of its directory.
    pub dir: PathBuf,
    /// Name of the guest.
    pub name: String,
    /// Language of its sources.
    pub language: Language,
}

impl Project {
    /// Reads the project in this directory.
    ///
    /// # Errors
    /// There is no project, or its file is invalid.
    pub fn find(dir: &Path) -> Result<Self, ProjectError> {
        let none = || ProjectError::NoProject {
            dir: dir.to_owned(),
        };
        let dir = dir.canonicalize().map_err(|_| none())?;
        let (own, cargo) = (dir.join(PROJECT_FILE), dir.join("Cargo.toml"));
        if own.is_file() {
            let (name, language) = described(&own, &read_small(&own)?)?;
            return Ok(Self {
                dir,
                name,
                language,
            });
        }
        if cargo.is_file() {
            let name = package_name(&cargo, &read_small(&cargo)?)?;
            let language = Language::Rust;
            return Ok(Self {
                dir,
                name,
                language,
            });
        }
        Err(none())
    }

    /// Where [`Self::build`] writes.
    #[must_use]
    pub fn build_dir(&self) -> PathBuf {
        self.dir.join("build")
    }

    /// The module that [`Self::build`] makes.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        self.build_dir().join(format!("{}.wasm", self.name))
    }

    /// The WIT of the project.
    pub(crate) fn wit(&self) -> PathBuf {
        self.dir.join("wit")
    }
}

/// The content of `oarlock.toml`.
pub(crate) fn describe(name: &str, language: Language) -> String {
    format!(
        "# Read by `oarlock build` and `oarlock test`.\nname = \"{name}\"\nlanguage = \"{}\"\n",
        language.name()
    )
}

fn read_small(path: &Path) -> Result<String, ProjectError> {
    let read = ProjectError::file("read", path);
    let bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) => return Err(read(error)),
    };
    if bytes > MAX_FILE_BYTES {
        return Err(ProjectError::BadManifest {
            path: path.to_owned(),
            reason: format!("it has {bytes} bytes, but {MAX_FILE_BYTES} is the limit"),
        });
    }
    fs::read_to_string(path).map_err(read)
}

fn bad(path: &Path, reason: impl Into<String>) -> ProjectError {
    ProjectError::BadManifest {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn parse(path: &Path, text: &str) -> Result<toml::Table, ProjectError> {
    text.parse::<toml::Table>()
        .map_err(|error| bad(path, format!("it is not TOML: {}", error.message())))
}

/// Name and language in an `oarlock.toml`.
fn described(path: &Path, text: &str) -> Result<(String, Language), ProjectError> {
    let table = parse(path, text)?;
    for key in table.keys() {
        if key != "name" && key != "language" {
            return Err(bad(
                path,
                format!("the key `{key}` is unknown; known are name, language"),
            ));
        }
    }
    let of = |key: &str| {
        let value = table.get(key).and_then(toml::Value::as_str);
        value.ok_or_else(|| bad(path, format!("it has no text `{key}`; add `{key} = \"…\"`")))
    };
    let (name, language) = (of("name")?, of("language")?);
    let language = Language::of_name(language).ok_or_else(|| {
        let known = Language::names();
        bad(
            path,
            format!("the language {language:?} is unknown; known are {known}"),
        )
    })?;
    if !is_file_name(name) {
        return Err(bad(
            path,
            format!("the name {name:?} is not valid; use the characters a-z, A-Z, 0-9, - and _"),
        ));
    }
    Ok((name.to_owned(), language))
}

/// The name becomes that of a file, so it must not lead out of the directory.
fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

fn package_name(path: &Path, text: &str) -> Result<String, ProjectError> {
    let table = parse(path, text)?;
    let name = table
        .get("package")
        .and_then(|package| package.get("name")?.as_str())
        .filter(|name| is_file_name(name));
    let name = name.ok_or_else(|| {
        bad(
            path,
            "it has no `package.name`; run this in the directory of a package",
        )
    })?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests;
