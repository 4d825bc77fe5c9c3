//! `oarlock new`: creates a guest project that builds and passes its tests.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::{write_json, write_out};
use crate::cli::NewArgs;
use crate::exit::Failure;

/// Paths and contents of the project's files. `{{name}}`, `{{module}}` and `{{sdk}}` are placeholders.
const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("new/template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("new/template/lib.rs.txt")),
    ("src/tests.rs", include_str!("new/template/tests.rs.txt")),
    ("README.md", include_str!("new/template/README.md.txt")),
    // Forbids functions that are not deterministic or do not exist in a module.
    (
        "clippy.toml",
        include_str!("../../../../guest-sdk/clippy.toml"),
    ),
    (".gitignore", "/target\n"),
];

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

/// Creates a project in a new directory, and prints the next steps.
///
/// # Errors
/// The name is not valid, the directory exists already, or it cannot be written.
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
    if args.output.json {
        let files = FILES.map(|(name, _)| name);
        let made = json!({"name": args.name, "folder": shown, "files": files});
        return write_json(std::io::stdout().lock(), &made);
    }
    let text = format!(
        "created the guest project {shown}; next steps:\n  cd {shown}\n  cargo test\n  cargo build --release --target wasm32-unknown-unknown\n  oarlock serve --state-machine target/wasm32-unknown-unknown/release/{module}.wasm\n"
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
            "the name {name:?} is not valid; use 1 to {MAX_NAME_BYTES} characters a-z, 0-9 and -, the first a letter"
        )));
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(Failure::usage(format!(
            "the name {name:?} is reserved by cargo or the Rust compiler; choose another name"
        )));
    }
    Ok(())
}

/// The dependency on the SDK: the directory of `--sdk`, the SDK in the source tree of this program, or the registry.
fn sdk(given: Option<&Path>) -> Result<String, Failure> {
    let found = match given {
        Some(folder) => Some(named_sdk(folder)?),
        None => own_sdk(),
    };
    Ok(match found {
        Some(folder) => {
            // A TOML string has the same escapes as a JSON string.
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
            "--sdk is not a directory with a Cargo.toml; pass the directory guest-sdk, or omit the flag",
        )
    })
}

/// The SDK in the source tree that this program was built in, if it is still there.
fn own_sdk() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let folders = program.ancestors().map(|folder| folder.join("guest-sdk"));
    let mut folders = folders.filter(|folder| folder.join("macros/Cargo.toml").is_file());
    folders.next()
}

/// Writes all files into a new directory.
fn write(folder: &Path, fill: impl Fn(&str) -> String) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::failed(format!(
            "cannot write {}: {error}; choose a writable directory with --dir",
            path.display()
        ))
    };
    fs::create_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::failed(format!(
            "{} already exists, and nothing in it was changed; choose another name or --dir",
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
