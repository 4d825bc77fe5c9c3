//! `oarlock new`: a guest that builds and passes its tests, to go on from.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::{write_json, write_out};
use crate::cli::NewArgs;
use crate::exit::Failure;

/// Files of a project, and what is in them. `{{name}}`, `{{module}}` and `{{sdk}}` are filled in.
const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("new/template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("new/template/lib.rs.txt")),
    ("src/tests.rs", include_str!("new/template/tests.rs.txt")),
    ("README.md", include_str!("new/template/README.md.txt")),
    // What differs between nodes, or does not exist in a module.
    (
        "clippy.toml",
        include_str!("../../../../guest-sdk/clippy.toml"),
    ),
    (".gitignore", "/target\n"),
];

/// Longest name of a guest, as the SDK has it.
const MAX_NAME_BYTES: usize = 64;

/// Names that cargo or the compiler keep for themselves.
const KEPT_NAMES: [&str; 48] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue",
    "core", "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen",
    "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv",
    "pub", "ref", "return", "self", "static", "std", "struct", "super", "test", "trait", "true",
    "try", "type", "use",
];

/// Writes a project into a new folder, and says what to do with it.
///
/// # Errors
/// The name is none for a guest, the folder is there already, or it can't be written.
pub(crate) fn new(args: NewArgs) -> Result<(), Failure> {
    check_name(&args.name)?;
    let folder = args.dir.join(&args.name);
    let sdk = sdk(args.sdk.as_deref())?;
    let module = args.name.replace('-', "_");
    let fill = |text: &str| {
        text.replace("{{name}}", &args.name)
            .replace("{{module}}", &module)
            .replace("{{sdk}}", &sdk)
    };
    write(&folder, fill)?;
    let shown = folder.display().to_string();
    if args.json {
        let files = FILES.map(|(name, _)| name);
        let made = json!({"name": args.name, "folder": shown, "files": files});
        return write_json(std::io::stdout().lock(), &made);
    }
    let text = format!(
        "{shown} is a guest with tests; go on with\n  cd {shown}\n  cargo test\n  cargo build --release --target wasm32-unknown-unknown\n  oarlock serve --state-machine target/wasm32-unknown-unknown/release/{module}.wasm\n"
    );
    write_out(std::io::stdout().lock(), text.as_bytes())
}

fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain);
    if !fits {
        return Err(Failure::usage(format!(
            "{name:?} is no name for a guest: give 1 to {MAX_NAME_BYTES} characters of a-z, 0-9 and -, beginning with a letter"
        )));
    }
    if KEPT_NAMES.contains(&name) {
        return Err(Failure::usage(format!(
            "{name:?} means something to the compiler; give another name"
        )));
    }
    Ok(())
}

/// How the project finds the SDK: where the flag says, beside the program's own sources, or in the registry.
fn sdk(given: Option<&Path>) -> Result<String, Failure> {
    let found = match given {
        Some(folder) => Some(named_sdk(folder)?),
        None => own_sdk(),
    };
    Ok(match found {
        Some(folder) => {
            // A path is written as TOML, which escapes as JSON does.
            let path = json!(folder.display().to_string());
            format!("{{ path = {path} }}")
        }
        None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
    })
}

fn named_sdk(folder: &Path) -> Result<PathBuf, Failure> {
    let is_sdk = |folder: &PathBuf| folder.join("Cargo.toml").is_file();
    let folder = folder.canonicalize().ok().filter(is_sdk);
    folder.ok_or_else(|| {
        Failure::usage(
            "--sdk names no folder with a Cargo.toml; give that of guest-sdk, or leave it out",
        )
    })
}

/// The SDK of the sources that this program was built from, where it still lies among them.
fn own_sdk() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let folders = program.ancestors().map(|folder| folder.join("guest-sdk"));
    let mut folders = folders.filter(|folder| folder.join("macros/Cargo.toml").is_file());
    folders.next()
}

/// Writes all files into a folder that is not there yet.
fn write(folder: &Path, fill: impl Fn(&str) -> String) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::failed(format!("{} cannot be written: {error}", path.display()))
    };
    fs::create_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::failed(format!(
            "{} is there already, and nothing in it was changed; give another name",
            folder.display()
        )),
        _ => failed(folder, error),
    })?;
    let sources = folder.join("src");
    fs::create_dir(&sources).map_err(|error| failed(&sources, error))?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, fill(text)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
