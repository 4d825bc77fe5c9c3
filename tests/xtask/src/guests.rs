//! Building the kept guests, the same way everywhere.
//!
//! A build is reproducible: the toolchain is pinned, the dependencies are those of `Cargo.lock`, the
//! processor is the default one, and paths of the machine are replaced by names that are the same on each.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::record::{self, Entry};
use crate::run::{Error, output, run};
use crate::sources::{Sources, SourcesError, sha256};
use crate::wasm_target;

/// A guest that is kept built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guest {
    /// What it is called here and in `dist/SOURCES`.
    pub name: &'static str,
    /// Its package.
    pub package: &'static str,
    /// The feature of the package that selects it; empty for none.
    pub feature: &'static str,
    /// Its folder, from the root.
    pub folder: &'static str,
    /// Where its module is kept, from the root.
    pub module: &'static str,
}

/// Every guest that is kept built.
pub const GUESTS: [Guest; 17] = [
    Guest {
        name: "counter",
        package: "oarlock-counter",
        feature: "",
        folder: "examples-wasm/counter",
        module: "examples-wasm/dist/counter.wasm",
    },
    Guest {
        name: "kv",
        package: "oarlock-kv",
        feature: "",
        folder: "examples-wasm/kv",
        module: "examples-wasm/dist/kv.wasm",
    },
    Guest {
        name: "lock",
        package: "oarlock-lock",
        feature: "",
        folder: "examples-wasm/lock",
        module: "examples-wasm/dist/lock.wasm",
    },
    Guest {
        name: "queue",
        package: "oarlock-queue",
        feature: "",
        folder: "examples-wasm/queue",
        module: "examples-wasm/dist/queue.wasm",
    },
    Guest {
        name: "ledger",
        package: "oarlock-ledger",
        feature: "",
        folder: "examples-wasm/ledger",
        module: "examples-wasm/dist/ledger.wasm",
    },
    Guest {
        name: "rate-limiter",
        package: "oarlock-rate-limiter",
        feature: "",
        folder: "examples-wasm/rate-limiter",
        module: "examples-wasm/dist/rate-limiter.wasm",
    },
    Guest {
        name: "election",
        package: "oarlock-election",
        feature: "",
        folder: "examples-wasm/election",
        module: "examples-wasm/dist/election.wasm",
    },
    Guest {
        name: "flags",
        package: "oarlock-flags",
        feature: "",
        folder: "examples-wasm/flags",
        module: "examples-wasm/dist/flags.wasm",
    },
    Guest {
        name: "clockwork",
        package: "oarlock-clockwork",
        feature: "",
        folder: "tests/guests/clockwork",
        module: "tests/guests/clockwork.wasm",
    },
    Guest {
        name: "faulty",
        package: "oarlock-faulty",
        feature: "",
        folder: "tests/guests/faulty",
        module: "tests/guests/faulty.wasm",
    },
    Guest {
        name: "counter-2",
        package: "oarlock-counter-2",
        feature: "",
        folder: "tests/guests/counter-2",
        module: "tests/guests/counter-2.wasm",
    },
    Guest {
        name: "curious",
        package: "oarlock-curious",
        feature: "",
        folder: "tests/guests/curious",
        module: "tests/guests/curious.wasm",
    },
    Guest {
        name: "apples",
        package: "oarlock-fruit",
        feature: "",
        folder: "tests/guests/fruit",
        module: "tests/guests/apples.wasm",
    },
    Guest {
        name: "apples-swapped",
        package: "oarlock-fruit",
        feature: "swapped",
        folder: "tests/guests/fruit",
        module: "tests/guests/apples-swapped.wasm",
    },
    Guest {
        name: "apples-widened",
        package: "oarlock-fruit",
        feature: "widened",
        folder: "tests/guests/fruit",
        module: "tests/guests/apples-widened.wasm",
    },
    Guest {
        name: "apples-foreign",
        package: "oarlock-fruit",
        feature: "foreign",
        folder: "tests/guests/fruit",
        module: "tests/guests/apples-foreign.wasm",
    },
    Guest {
        name: "pears",
        package: "oarlock-fruit",
        feature: "pears",
        folder: "tests/guests/fruit",
        module: "tests/guests/pears.wasm",
    },
];

/// The record of what the kept modules were built from, from the root.
pub const RECORD: &str = "examples-wasm/dist/SOURCES";

/// Builds every guest. Without `out` the modules and their record in the repository are replaced; with it
/// they are written to that folder under the guests' names.
///
/// # Errors
///
/// The target is missing and cannot be made, a guest does not compile, or a file cannot be written.
pub fn build(root: &Path, out: Option<&Path>) -> Result<(), Error> {
    wasm_target::install()?;
    let sources = Sources::read(root)?;
    let mut entries = Vec::new();
    for guest in &GUESTS {
        // Before the build, so that a change made meanwhile shows as stale.
        let sources = sources.hash(guest)?;
        let built = compile(root, guest)?;
        let module = fs::read(&built).map_err(Error::file("reading", &built))?;
        let kept = out.map_or_else(
            || root.join(guest.module),
            |out| out.join(format!("{}.wasm", guest.name)),
        );
        write(&kept, &module)?;
        println!("{}: {} bytes", kept.display(), module.len());
        entries.push(Entry {
            name: guest.name.to_owned(),
            module: sha256(&module),
            sources,
        });
    }
    let kept = out.map_or_else(|| root.join(RECORD), |out| out.join("SOURCES"));
    write(&kept, record::write(&entries).as_bytes())
}

/// The kept guests that are not built from the sources as they stand, each with the reason.
///
/// # Errors
///
/// The sources or the record cannot be read.
pub fn stale(root: &Path) -> Result<Vec<(&'static str, String)>, SourcesError> {
    let sources = Sources::read(root)?;
    let path = root.join(RECORD);
    let text = fs::read_to_string(&path).map_err(|source| SourcesError::Read {
        path: path.clone(),
        source,
    })?;
    let entries = record::read(&text).map_err(|source| SourcesError::Record { path, source })?;
    let mut stale = Vec::new();
    for guest in &GUESTS {
        let entry = entries.iter().find(|entry| entry.name == guest.name);
        if let Some(why) = why_stale(root, guest, entry, &sources)? {
            stale.push((guest.name, why));
        }
    }
    Ok(stale)
}

fn why_stale(
    root: &Path,
    guest: &Guest,
    entry: Option<&Entry>,
    sources: &Sources,
) -> Result<Option<String>, SourcesError> {
    let Some(entry) = entry else {
        return Ok(Some(format!("{RECORD} does not name it")));
    };
    let Ok(module) = fs::read(root.join(guest.module)) else {
        return Ok(Some(format!("{} is not there", guest.module)));
    };
    if sha256(&module) != entry.module {
        return Ok(Some(format!(
            "{} is not the module that {RECORD} names",
            guest.module
        )));
    }
    if sources.hash(guest)? != entry.sources {
        return Ok(Some(
            "its sources have changed since it was built".to_owned(),
        ));
    }
    Ok(None)
}

/// Compiles one guest and returns where cargo put the module. One at a time, so that a guest's dependencies have
/// the features that it asks for and no others.
fn compile(root: &Path, guest: &Guest) -> Result<PathBuf, Error> {
    let target_dir =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut cargo = Command::new(wasm_target::cargo());
    cargo
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "guest",
            "--package",
            guest.package,
            "--features",
            guest.feature,
        ])
        .args(["--target", wasm_target::TARGET, "--target-dir"])
        .arg(&target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(root)?)
        .env_remove("RUSTFLAGS");
    run(&mut cargo)?;
    let file = format!("{}.wasm", guest.package.replace('-', "_"));
    Ok(target_dir
        .join(wasm_target::TARGET)
        .join("guest")
        .join(file))
}

/// Replaces the paths of this machine, which panics would carry into the module.
fn rust_flags(root: &Path) -> Result<OsString, Error> {
    let mut flags = OsString::new();
    for (from, to) in remapped(root)? {
        if !flags.is_empty() {
            flags.push("\x1f");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    Ok(flags)
}

/// Folders and what stands for them: the repository, the registries' sources, the toolchain. Where two fit,
/// rustc takes the later one.
fn remapped(root: &Path) -> Result<Vec<(PathBuf, &'static str)>, Error> {
    let sysroot = output(Command::new(wasm_target::rustc()).args(["--print", "sysroot"]))?;
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let cargo_home =
        cargo_home.ok_or_else(|| Error::Unmet("no home folder: set CARGO_HOME".to_owned()))?;
    let mut folders = vec![
        (cargo_home.clone(), "/cargo"),
        (PathBuf::from(sysroot), "/rust"),
        (root.to_owned(), "/oarlock"),
    ];
    // Each registry has a folder of its own, named after its host.
    let registries = cargo_home.join("registry").join("src");
    let listed = fs::read_dir(&registries).into_iter().flatten();
    let mut found: Vec<PathBuf> = listed
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    found.sort();
    folders.extend(found.into_iter().map(|folder| (folder, "/crates")));
    Ok(folders)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file("making the folder", folder))?;
    }
    fs::write(path, bytes).map_err(Error::file("writing", path))
}

#[cfg(test)]
mod tests;
