//! `oarlock build`: builds the module of a project and checks it as a node does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use oarlock_project::{Project, ProjectError};
use oarlock_wasm::{GuestEngine, GuestModule, GuestSemantics, MachineLimits};
use serde_json::Value;

use super::check::{facts, read, reasons};
use super::output::{print_safely, write_json, write_out};
use crate::cli::BuildArgs;
use crate::compiled::CompiledDir;
use crate::exit::Failure;

/// The directory of compiled code, beside the module in [`Project::build_dir`].
pub(super) const COMPILED_DIR: &str = "compiled";

/// A module that was built from a project, and that a node accepts.
pub(crate) struct BuiltGuest {
    /// The project.
    pub(crate) project: Project,
    /// The module's file.
    pub(crate) file: PathBuf,
    /// The module, loaded under the latest rules of execution.
    pub(crate) module: GuestModule,
    /// Where its compiled code is kept, for `--compiled-dir`.
    pub(crate) compiled_dir: PathBuf,
}

/// Builds the project in a directory, and prints what was built.
///
/// # Errors
/// There is no project, a tool is missing or fails, or a node would refuse the module.
pub(crate) fn build(args: BuildArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let built = build_project(&args.dir)?;
    let size = built.module.bytes().len();
    if args.output.json {
        let mut facts = facts(&built.module, size);
        facts["file"] = Value::from(built.file.display().to_string());
        facts["language"] = Value::from(built.project.language.name());
        facts["compiled_dir"] = Value::from(built.compiled_dir.display().to_string());
        return write_json(std::io::stdout().lock(), &facts);
    }
    let description = built.module.description();
    let text = format!(
        "built {}: {} version {}, {size} bytes, in {:.1} s; a node accepts this module\n",
        shown(&built.file).display(),
        print_safely(&description.name),
        description.version,
        began.elapsed().as_secs_f64()
    );
    write_out(std::io::stdout().lock(), text.as_bytes())
}

/// Builds the module of the project in this directory, and checks it as a node does. Prints progress on standard error.
///
/// # Errors
/// There is no project, a tool is missing or fails, or a node would refuse the module.
pub(crate) fn build_project(dir: &Path) -> Result<BuiltGuest, Failure> {
    let project = Project::find(dir).map_err(|error| project_failure(&error))?;
    let title = format!("{} ({})", project.name, project.language);
    let mut progress = |step: &str| eprintln!("{title}: {step}");
    let built = project.build(&mut progress);
    let file = built.map_err(|error| project_failure(&error))?;
    progress("checking the module");
    let compiled_dir = project.build_dir().join(COMPILED_DIR);
    let module = load(&file, Some(compiled_dir.clone()))?;
    Ok(BuiltGuest {
        project,
        file,
        module,
        compiled_dir,
    })
}

/// Loads a module as a node of a new cluster does. With a directory for compiled code, it uses the code from there.
///
/// # Errors
/// The file can't be read, or a node would refuse it, with every reason.
pub(super) fn load(file: &Path, compiled_dir: Option<PathBuf>) -> Result<GuestModule, Failure> {
    let limits = MachineLimits {
        semantics: GuestSemantics::LATEST,
        ..MachineLimits::default()
    };
    let bytes = read(file, limits.module_bytes)?;
    let mut engine = GuestEngine::new().map_err(Failure::failed)?;
    if let Some(dir) = compiled_dir {
        engine = engine.with_store(Arc::new(CompiledDir::new(dir)));
    }
    GuestModule::load(&engine, bytes, &limits)
        .map_err(|error| Failure::failed(reasons(file, &error)))
}

/// The path from the working directory, if the file is in it.
fn shown(file: &Path) -> &Path {
    let here = std::env::current_dir().and_then(|dir| dir.canonicalize());
    match here {
        Ok(here) => file.strip_prefix(here).unwrap_or(file),
        Err(_) => file,
    }
}

/// The failure of a command for an error about a project.
pub(super) fn project_failure(error: &ProjectError) -> Failure {
    if error.is_usage() {
        Failure::usage(error)
    } else {
        Failure::failed(error)
    }
}
