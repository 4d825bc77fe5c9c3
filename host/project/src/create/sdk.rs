//! The dependency of a project in Rust on the SDK. The SDK is on no registry, so a project uses the one in the source
//! tree of this program, or a copy in the project.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::ProjectError;
use crate::sources::{SDK, WORKSPACE};

/// The directory of the copy in a project. It is a workspace of its own, with the manifests as they are here.
const COPY: &str = "vendor/oarlock";

/// Where the SDK of a project is.
pub(super) enum Sdk {
    /// In this directory.
    At(PathBuf),
    /// In [`COPY`].
    Copied(String),
}

impl Sdk {
    /// The directory that was given, or the one in the source tree that this program was built in, or a copy.
    pub(super) fn find(given: Option<&Path>) -> Result<Self, ProjectError> {
        if let Some(folder) = given {
            return named(folder).map(Self::At);
        }
        Ok(match own() {
            Some(folder) => Self::At(folder),
            None => Self::Copied(workspace()),
        })
    }

    /// The value of the dependency in `Cargo.toml`, with a feature or without one.
    pub(super) fn dependency(&self, feature: Option<&str>) -> String {
        let path = match self {
            Self::At(folder) => folder.display().to_string(),
            Self::Copied(_) => format!("{COPY}/guest-sdk"),
        };
        let path = Value::String(path);
        match feature {
            Some(feature) => format!("{{ path = {path}, features = [\"{feature}\"] }}"),
            None => format!("{{ path = {path} }}"),
        }
    }

    /// The files of the copy: paths in the project, and contents.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let Self::Copied(workspace) = self else {
            return Vec::new();
        };
        let manifest = [("Cargo.toml", workspace.as_str())];
        let files = SDK.iter().chain(crate::sources::WIT).chain(&manifest);
        files
            .map(|(path, text)| (format!("{COPY}/{path}"), (*text).to_owned()))
            .collect()
    }
}

fn named(folder: &Path) -> Result<PathBuf, ProjectError> {
    let is_sdk = |folder: &PathBuf| folder.join("Cargo.toml").is_file();
    let folder = folder.canonicalize().ok().filter(is_sdk);
    folder.ok_or(ProjectError::NotSdk)
}

fn own() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let folders = program.ancestors().map(|folder| folder.join("guest-sdk"));
    let mut folders = folders.filter(|folder| folder.join("macros/Cargo.toml").is_file());
    folders.next()
}

/// The manifest of the workspace of the copy: this repository's, with only what the packages of the SDK refer to.
pub(super) fn workspace() -> String {
    let table = |text: &str| text.parse::<Table>().unwrap_or_default();
    let manifests = SDK.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    let mut used = BTreeSet::new();
    for (_, text) in manifests {
        collect_inherited(&Value::Table(table(text)), &mut used);
    }
    let mut root = table(WORKSPACE);
    let mut workspace = Table::new();
    if let Some(Value::Table(whole)) = root.remove("workspace") {
        for (key, value) in whole {
            match (key.as_str(), value) {
                ("dependencies", Value::Table(mut all)) => {
                    all.retain(|name, _| used.contains(name));
                    workspace.insert(key, Value::Table(all));
                }
                ("resolver" | "package" | "lints", value) => drop(workspace.insert(key, value)),
                _ => {}
            }
        }
    }
    let members = ["guest-sdk", "guest-sdk/macros"].map(|path| Value::String(path.to_owned()));
    workspace.insert("members".to_owned(), Value::Array(members.into()));
    let mut manifest = Table::new();
    manifest.insert("workspace".to_owned(), Value::Table(workspace));
    format!(
        "# The SDK for guests in Rust, as `oarlock new` of version {} contains it.\n{manifest}",
        env!("CARGO_PKG_VERSION")
    )
}

/// Names of the dependencies that are inherited from the workspace: `name.workspace = true`.
fn collect_inherited(value: &Value, used: &mut BTreeSet<String>) {
    let Value::Table(table) = value else {
        return;
    };
    for (name, value) in table {
        if value.get("workspace") == Some(&Value::Boolean(true)) {
            used.insert(name.clone());
        }
        collect_inherited(value, used);
    }
}
