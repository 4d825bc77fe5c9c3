//! Modules of tests: another one that does the same, and whether the toolchain can build any.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use bytes::Bytes;

use super::binary::{guest, run, target};

/// What modules are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A guest with a note in it: another module that does the same.
///
/// # Panics
/// If there is no such guest.
pub fn noted(name: &str, note: &[u8]) -> Bytes {
    let mut module = std::fs::read(guest(name)).expect("a module");
    // A custom section: its kind, its length in LEB128, a name of one letter, and the note.
    module.push(0);
    let mut length = note.len() + 2;
    while length >= 0x80 {
        module.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    module.extend_from_slice(&[length as u8, 1, b'n']);
    module.extend_from_slice(note);
    module.into()
}

/// The flag that names the directory where the nodes of tests keep compiled guests, and the directory. It stays for the next
/// test program. [`Cluster::prepare`](super::Cluster::prepare) adds it.
///
/// # Panics
/// If its path is not UTF-8.
pub fn compiled_dir() -> [&'static str; 2] {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = DIR.get_or_init(|| target().join("tmp/compiled"));
    ["--compiled-dir", dir.to_str().expect("a plain path")]
}

/// Compiles guests into [`compiled_dir`], once for all nodes: for some it takes a while.
///
/// # Panics
/// If a guest does not pass the checks.
pub fn compile(names: &[&str]) {
    for name in names {
        compile_file(&guest(name));
    }
}

/// The same with the module in a file.
///
/// # Panics
/// If it does not pass the checks.
pub fn compile_file(module: &Path) {
    let module = module.display().to_string();
    let checked = run([&["check", &module][..], &compiled_dir()].concat());
    let hint = "`cargo xtask guests --languages` builds it";
    assert!(checked.status.success(), "{module}; {hint}: {checked:?}");
}

/// Checks that the toolchain used in that folder can build modules.
///
/// # Panics
/// If it can't.
pub fn require_wasm_target(folder: &Path) {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(folder)
        .args(["--print", "target-libdir", "--target", TARGET]);
    let library = rustc.output().expect("rustc can be started");
    let library = String::from_utf8_lossy(&library.stdout).trim().to_owned();
    assert!(
        Path::new(&library).is_dir(),
        "{TARGET} is not installed; `cargo xtask wasm-target` installs it"
    );
}

/// Everything that a program printed.
pub fn text(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(error)
    )
}
