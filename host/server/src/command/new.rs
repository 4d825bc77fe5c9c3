//! `oarlock new`: creates a guest project that builds and passes its tests.

use oarlock_project::{Language, NewProject, ProjectKind, create};
use serde_json::json;

use super::build::project_failure;
use super::output::{write_json, write_out};
use crate::cli::NewArgs;
use crate::exit::Failure;

/// Creates a project in a new directory, and prints the next steps.
///
/// # Errors
/// The name is not valid, the directory exists already, or it cannot be written.
pub(crate) fn new(args: NewArgs) -> Result<(), Failure> {
    let created = create(NewProject {
        name: &args.name,
        language: args.lang,
        kind: if args.queue {
            ProjectKind::Queue
        } else {
            ProjectKind::StateMachine
        },
        parent: &args.dir,
        sdk: args.sdk.as_deref(),
    });
    let created = created.map_err(|error| project_failure(&error))?;
    let shown = created.folder.display().to_string();
    if args.output.json {
        let made = json!({
            "name": args.name,
            "language": args.lang.name(),
            "folder": shown,
            "files": created.files,
        });
        return write_json(std::io::stdout().lock(), &made);
    }
    let tests = match args.lang {
        Language::Rust => "  cargo test\n",
        Language::Python | Language::JavaScript | Language::C => "",
    };
    let text = format!(
        "created the guest project {shown}; next steps:\n  cd {shown}\n{tests}  oarlock build\n  oarlock test\n  oarlock serve --state-machine build/{}.wasm\n",
        args.name
    );
    write_out(std::io::stdout().lock(), text.as_bytes())
}
