//! One hash over all that a guest is built from.
//!
//! It covers, in this order: the files of the guest's folder, of `guest-sdk/` and of `wit/`; the exact version
//! and checksum of each package in the guest's own part of `Cargo.lock`; the settings of the root `Cargo.toml` for
//! those packages, of the edition and of the profile; and the toolchain. A change elsewhere does not touch it.
//!
//! Left out is what no module holds: tests, clients, examples, pages of text, and the SDK's files for other languages.

mod lock;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use lock::{Lock, LockError};

use crate::guests::Guest;
use crate::record::RecordError;

/// Folders that every guest is built from, from the root.
const SHARED: [&str; 2] = ["guest-sdk", "wit"];

/// Their files for guests in other languages.
const LEFT_OUT: [&str; 3] = ["guest-sdk/c", "guest-sdk/javascript", "guest-sdk/python"];

/// Folders of a guest that are not in its module.
const OUTSIDE: [&str; 5] = ["clients", "examples", "target", "testing", "tests"];

/// Packages without a checksum whose files are covered by [`SHARED`].
const SHARED_PACKAGES: [&str; 2] = ["oarlock-guest", "oarlock-guest-macros"];

/// Why a guest's sources could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A file or folder cannot be read.
    #[error("reading {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file is not TOML.
    #[error("{path} is not TOML: {source}", path = path.display())]
    Toml {
        /// Which.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// `Cargo.lock` does not hold what it should.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `dist/SOURCES` does not hold what it should.
    #[error("{path}: {source}", path = path.display())]
    Record {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: RecordError,
    },
    /// A guest depends on a package of this repository whose files nothing hashes.
    #[error(
        "{guest} depends on {package}, whose files are not among the hashed ones: name its folder in xtask's sources"
    )]
    Uncovered {
        /// The guest's package.
        guest: String,
        /// The package.
        package: String,
    },
}

/// What the guests have in common, read once.
pub struct Sources {
    root: PathBuf,
    lock: Lock,
    manifest: toml::Table,
    toolchain: String,
}

impl Sources {
    /// Reads the files that all guests share.
    ///
    /// # Errors
    ///
    /// One of them is missing or not what it should be.
    pub fn read(root: &Path) -> Result<Self, SourcesError> {
        Ok(Self {
            root: root.to_owned(),
            lock: Lock::parse(table(&root.join("Cargo.lock"))?)?,
            manifest: table(&root.join("Cargo.toml"))?,
            toolchain: text(&root.join("rust-toolchain.toml"))?,
        })
    }

    /// The hash over all that a guest is built from, in hex.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or a dependency is not covered.
    pub fn hash(&self, guest: &Guest) -> Result<String, SourcesError> {
        let mut hash = Fields(Sha256::new());
        for folder in [guest.folder].iter().chain(&SHARED) {
            let mut files = BTreeSet::new();
            list(&self.root, Path::new(folder), &mut files)?;
            for file in &files {
                let path = self.root.join(file);
                let bytes =
                    fs::read(&path).map_err(|source| SourcesError::Read { path, source })?;
                hash.add(file.as_bytes());
                hash.add(&bytes);
            }
        }
        let mut names = BTreeSet::new();
        for package in self.lock.closure(guest.package)? {
            let covered =
                package.name == guest.package || SHARED_PACKAGES.contains(&package.name.as_str());
            if package.source.is_none() && !covered {
                return Err(SourcesError::Uncovered {
                    guest: guest.package.to_owned(),
                    package: package.name.clone(),
                });
            }
            hash.add(package.identity().as_bytes());
            names.insert(package.name.as_str());
        }
        hash.add(self.settings(&names).as_bytes());
        hash.add(self.toolchain.as_bytes());
        Ok(hex(&hash.0.finalize()))
    }

    /// The root manifest's settings for these packages, the edition and the profile.
    fn settings(&self, names: &BTreeSet<&str>) -> String {
        let at = |path: &[&str]| -> Option<&toml::Value> {
            let (first, rest) = path.split_first()?;
            rest.iter()
                .try_fold(self.manifest.get(*first)?, |value, key| value.get(key))
        };
        let mut settings = toml::Table::new();
        let mut keep = |name: &str, value: Option<&toml::Value>| {
            if let Some(value) = value {
                settings.insert(name.to_owned(), value.clone());
            }
        };
        keep("edition", at(&["workspace", "package", "edition"]));
        keep("profile.guest", at(&["profile", "guest"]));
        keep("profile.release", at(&["profile", "release"]));
        for name in names {
            keep(
                &format!("dependency.{name}"),
                at(&["workspace", "dependencies", name]),
            );
        }
        settings.to_string()
    }
}

/// A hash over fields, each with its length before it, so that no two lists of fields look alike.
struct Fields(Sha256);

impl Fields {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the files of a folder that can end up in a module, as paths from the root with `/` between.
fn list(root: &Path, folder: &Path, files: &mut BTreeSet<String>) -> Result<(), SourcesError> {
    let path = root.join(folder);
    let failed = |source| SourcesError::Read {
        path: path.clone(),
        source,
    };
    for entry in fs::read_dir(&path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let inside = folder.join(&name);
        if entry.file_type().map_err(failed)?.is_dir() {
            let is_left_out = LEFT_OUT.iter().any(|path| inside == Path::new(path));
            let is_left_out = is_left_out || OUTSIDE.contains(&name.as_str());
            if !is_left_out {
                list(root, &inside, files)?;
            }
        } else if !matches!(name.as_str(), "tests.rs" | "testing.rs" | "clippy.toml")
            && !name.ends_with(".md")
        {
            files.insert(inside.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, SourcesError> {
    fs::read_to_string(path).map_err(|source| SourcesError::Read {
        path: path.to_owned(),
        source,
    })
}

fn table(path: &Path) -> Result<toml::Table, SourcesError> {
    text(path)?.parse().map_err(|source| SourcesError::Toml {
        path: path.to_owned(),
        source: Box::new(source),
    })
}
