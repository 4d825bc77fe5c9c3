//! `oarlock new`: creates a project for a guest that builds and passes its tests.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::{write_json, write_out};
use crate::cli::NewArgs;
use crate::exit::Failure;

/// Files of a project and their contents. `{{name}}`, `{{module}}` and `{{sdk}}` are placeholders.
const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("new/template/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("new/template/lib.rs.txt")),
    ("src/tests.rs", include_str!("new/template/tests.rs.txt")),
    ("README.md", include_str!("new/template/README.md.txt")),
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

/// Writes a project into a new folder and prints the next steps.
///
/// # Errors
/// The name is invalid, the folder exists, or it cannot be written.
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
        "created {shown}, a guest with tests; next steps:\n  cd {shown}\n  cargo test\n  cargo build --release --target wasm32-unknown-unknown\n  oarlock serve --state-machine target/wasm32-unknown-unknown/release/{module}.wasm\n"
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
            "{name:?} is not a valid name for a guest; use 1 to {MAX_NAME_BYTES} characters of a-z, 0-9 and -, starting with a letter"
        )));
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(Failure::usage(format!(
            "{name:?} is a reserved name of cargo or the compiler; use another name"
        )));
    }
    Ok(())
}

/// The dependency on the SDK: the folder of `--sdk`, the sources of this program, or the registry.
fn sdk(given: Option<&Path>) -> Result<String, Failure> {
    let found = match given {
        Some(folder) => Some(named_sdk(folder)?),
        None => own_sdk(),
    };
    Ok(match found {
        Some(folder) => {
            // JSON and TOML strings have the same escapes.
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
            "the folder of --sdk has no Cargo.toml; give the folder guest-sdk, or omit the flag",
        )
    })
}

/// The SDK in the sources of this program, if the program is still in their build folder.
fn own_sdk() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let folders = program.ancestors().map(|folder| folder.join("guest-sdk"));
    let mut folders = folders.filter(|folder| folder.join("macros/Cargo.toml").is_file());
    folders.next()
}

/// Writes all files into a new folder.
fn write(folder: &Path, fill: impl Fn(&str) -> String) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::failed(format!("{} cannot be written: {error}", path.display()))
    };
    fs::create_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::failed(format!(
            "{} exists, and nothing in it was changed; use another name",
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
