//! The directory of a guest project: how it is built, and where the state of the local node is.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use oarlock_project::{Language, Project};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::exit::Failure;

/// Directory of everything that this command writes, in the project.
pub(super) const OWN_DIR: &str = ".oarlock-dev";
const TARGET: &str = "wasm32-unknown-unknown";
/// Settings of cargo for short builds. The target directory is not that of other builds, which have other settings.
const QUICK_BUILD: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_INCREMENTAL", "true"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

/// Why there is no module.
#[derive(Debug)]
pub(super) enum BuildError {
    /// The sources are wrong. The compiler has printed how; the text is what is left to print.
    Broken(String),
    /// The compiler cannot be run, or its module cannot be read.
    NotStarted(Failure),
}

/// A guest project.
#[derive(Debug)]
pub(super) struct DevProject {
    guest: Project,
}

impl DevProject {
    /// Opens the project in a directory.
    ///
    /// # Errors
    /// The directory is no project.
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        let guest = Project::find(dir).map_err(Failure::usage)?;
        Ok(Self { guest })
    }

    /// The directory, as an absolute path.
    pub(super) fn dir(&self) -> &Path {
        &self.guest.dir
    }

    /// Directory of the local node.
    pub(super) fn state_dir(&self) -> PathBuf {
        self.guest.dir.join(OWN_DIR).join("data")
    }

    /// The module with which the log of the local node begins.
    pub(super) fn first_module(&self) -> PathBuf {
        self.guest.dir.join(OWN_DIR).join("first.wasm")
    }

    /// Creates the directory of everything else, which version control ignores.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        let own = self.guest.dir.join(OWN_DIR);
        let prepared =
            fs::create_dir_all(&own).and_then(|()| fs::write(own.join(".gitignore"), "*\n"));
        prepared.map_err(|error| cannot("write", &own, &error))
    }

    /// Removes the state of earlier runs.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn forget_state(&self) -> Result<(), Failure> {
        let (state, first) = (self.state_dir(), self.first_module());
        let gone = |removed: std::io::Result<()>, path: &Path| match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(cannot("remove", path, &error))
            }
            _ => Ok(()),
        };
        gone(fs::remove_dir_all(&state), &state)?;
        gone(fs::remove_file(&first), &first)
    }

    /// Builds the module. The compiler's messages go to standard error.
    ///
    /// # Errors
    /// The project does not compile, or the compiler cannot be run.
    pub(super) async fn build(&self) -> Result<Bytes, BuildError> {
        self.prepare().map_err(BuildError::NotStarted)?;
        match self.guest.language {
            Language::Rust => self.build_rust().await,
            _ => self.build_other().await,
        }
    }

    /// Builds as `oarlock build` does.
    async fn build_other(&self) -> Result<Bytes, BuildError> {
        let guest = self.guest.clone();
        let building = tokio::task::spawn_blocking(move || {
            let mut progress = |step: &str| eprintln!("{step}");
            guest.build(&mut progress)
        });
        let module = match building.await {
            Ok(built) => built.map_err(|error| BuildError::Broken(error.to_string()))?,
            Err(panicked) => return Err(BuildError::NotStarted(Failure::failed(panicked))),
        };
        read(&module).await
    }

    async fn build_rust(&self) -> Result<Bytes, BuildError> {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&self.guest.dir)
            .args(["build", "--quiet", "--release", "--lib", "--target", TARGET])
            .args([
                "--message-format",
                "json-render-diagnostics",
                "--target-dir",
            ])
            .arg(self.guest.dir.join(OWN_DIR).join("target"))
            .envs(QUICK_BUILD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let not_run = |error: std::io::Error| {
            BuildError::NotStarted(Failure::failed(format!(
                "cannot run cargo: {error}; install Rust, and see that cargo is in the PATH"
            )))
        };
        let mut running = cargo.spawn().map_err(not_run)?;
        let mut report = Vec::new();
        if let Some(mut out) = running.stdout.take() {
            out.read_to_end(&mut report).await.map_err(not_run)?;
        }
        if !running.wait().await.map_err(not_run)?.success() {
            return Err(BuildError::Broken(String::new()));
        }
        let module = module_in(&report).ok_or_else(|| {
            BuildError::NotStarted(Failure::failed(
                "the build wrote no module; set crate-type = [\"cdylib\", \"rlib\"] in [lib] of Cargo.toml",
            ))
        })?;
        read(&module).await
    }
}

async fn read(module: &Path) -> Result<Bytes, BuildError> {
    let bytes = tokio::fs::read(module).await;
    bytes
        .map(Bytes::from)
        .map_err(|error| BuildError::NotStarted(cannot("read", module, &error)))
}

/// The last module in the report of cargo: one JSON object in each line.
fn module_in(report: &[u8]) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        reason: String,
        #[serde(default)]
        filenames: Vec<PathBuf>,
    }
    let artifacts = report
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok())
        .filter(|artifact| artifact.reason == "compiler-artifact");
    let is_module = |file: &PathBuf| file.extension().is_some_and(|end| end == "wasm");
    artifacts
        .flat_map(|artifact| artifact.filenames)
        .rfind(is_module)
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!(
        "cannot {what} {}: {error}; check its permissions and the space on its disk",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_in_the_report_of_cargo() {
        let report = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/t/libserde.rlib"]}"#,
            "\nnot JSON\n",
            r#"{"reason":"compiler-artifact","filenames":["/t/libseats.rlib","/t/seats.wasm"],"fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n"
        );
        assert_eq!(
            module_in(report.as_bytes()),
            Some(PathBuf::from("/t/seats.wasm"))
        );
        assert_eq!(module_in(b""), None);
    }

    #[test]
    fn a_project_has_a_state_that_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let refused = DevProject::open(dir.path()).expect_err("it is empty");
        assert_eq!(refused.code(), 2);
        let manifest = "[package]\nname = \"seats\"\n";
        fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        let project = DevProject::open(dir.path()).unwrap();
        project
            .forget_state()
            .expect("nothing to forget is no error");
        project.prepare().unwrap();
        fs::create_dir_all(project.state_dir()).unwrap();
        fs::write(project.first_module(), "x").unwrap();
        project.forget_state().unwrap();
        assert!(!project.state_dir().exists() && !project.first_module().exists());
        assert_eq!(
            fs::read_to_string(dir.path().join(OWN_DIR).join(".gitignore")).unwrap(),
            "*\n"
        );
    }
}
