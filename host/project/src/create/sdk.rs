//! The dependency of a project in Rust on the SDK. The SDK is on no registry, so a project uses the one in the source
//! tree of this program, or a copy in the project.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::ProjectError;
use crate::kind::ProjectKind;
use crate::sources::{QUEUE, SDK, WIT, WORKSPACE};

/// The directory of the copy in a project. It is a workspace of its own, with the manifests as they are here.
const COPY: &str = "vendor/oarlock";

/// Where the SDK of a project is.
pub(super) enum Sdk {
    /// In this directory.
    At(PathBuf),
    /// In [`COPY`]: the manifest of its workspace, and its other files.
    Copied(String, Vec<File>),
}

/// A file of the copy: its path in it, and its content.
type File = (&'static str, &'static str);

impl Sdk {
    /// The directory that was given, or the one in the source tree that this program was built in, or a copy.
    pub(super) fn find(given: Option<&Path>, kind: ProjectKind) -> Result<Self, ProjectError> {
        let found = match given {
            Some(folder) => Some(named(folder)?),
            None => own(),
        };
        let Some(folder) = found else {
            let files = sources(kind);
            return Ok(Self::Copied(workspace(&files), files));
        };
        if kind == ProjectKind::Queue && !queue_near(&folder).join("Cargo.toml").is_file() {
            return Err(ProjectError::NoQueueNearSdk);
        }
        Ok(Self::At(folder))
    }

    /// The value of the dependency in `Cargo.toml`, with a feature or without one.
    pub(super) fn dependency(&self, feature: Option<&str>) -> String {
        let path = match self {
            Self::At(folder) => folder.display().to_string(),
            Self::Copied(..) => format!("{COPY}/guest-sdk"),
        };
        let path = Value::String(path);
        match feature {
            Some(feature) => format!("{{ path = {path}, features = [\"{feature}\"] }}"),
            None => format!("{{ path = {path} }}"),
        }
    }

    /// The value of the dependency on the task queue.
    pub(super) fn queue_dependency(&self) -> String {
        let path = match self {
            Self::At(folder) => queue_near(folder).display().to_string(),
            Self::Copied(..) => format!("{COPY}/examples-wasm/queue"),
        };
        format!(
            "{{ path = {}, default-features = false }}",
            Value::String(path)
        )
    }

    /// The files of the copy: paths in the project, and contents.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let Self::Copied(workspace, sources) = self else {
            return Vec::new();
        };
        let manifest = [("Cargo.toml", workspace.as_str())];
        let files = sources.iter().chain(WIT).chain(&manifest);
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

/// The task queue in the repository of an SDK.
fn queue_near(sdk: &Path) -> PathBuf {
    let root = sdk.parent().unwrap_or(sdk);
    root.join("examples-wasm/queue")
}

/// The packages of a copy.
pub(super) fn sources(kind: ProjectKind) -> Vec<File> {
    let queue: &[File] = match kind {
        ProjectKind::StateMachine => &[],
        ProjectKind::Queue => QUEUE,
    };
    SDK.iter().chain(queue).copied().collect()
}

/// The manifest of the workspace of the copy: this repository's, with only what its packages refer to.
pub(super) fn workspace(files: &[File]) -> String {
    let table = |text: &str| text.parse::<Table>().unwrap_or_default();
    let mut used = BTreeSet::new();
    let mut members = Vec::new();
    for (path, text) in files {
        if let Some(member) = path.strip_suffix("/Cargo.toml") {
            collect_inherited(&Value::Table(table(text)), &mut used);
            members.push(Value::String(member.to_owned()));
        }
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
    workspace.insert("members".to_owned(), Value::Array(members));
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
