//! Lists the sources of the SDK and of the WIT, so that the program contains them and `oarlock new` works without this
//! repository.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders of the SDK, from the root of the repository.
const SDK: [&str; 4] = [
    "guest-sdk/Cargo.toml",
    "guest-sdk/src",
    "guest-sdk/macros/Cargo.toml",
    "guest-sdk/macros/src",
];
/// The task queue, for projects with rules in it.
const QUEUE: [&str; 2] = ["examples-wasm/queue/Cargo.toml", "examples-wasm/queue/src"];
const WIT: &str = "wit";

fn main() -> Result<(), Box<dyn Error>> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo runs this")?);
    let root = package.join("../..").canonicalize()?;
    let mut sdk = Vec::new();
    for place in SDK {
        find(&root, Path::new(place), &mut sdk)?;
    }
    let mut queue = Vec::new();
    for place in QUEUE {
        find(&root, Path::new(place), &mut queue)?;
    }
    let mut wit = Vec::new();
    find(&root, Path::new(WIT), &mut wit)?;
    let mut code = table("SDK", &root, &sdk);
    code.push_str(&table("QUEUE", &root, &queue));
    code.push_str(&table("WIT", &root, &wit));
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo runs this")?);
    let (new, place) = (out.join("sources.new"), out.join("sources.rs"));
    // Replaced, not overwritten: copies of a target directory may share the file.
    fs::write(&new, code)?;
    fs::rename(&new, &place)?;
    Ok(())
}

/// Collects the files of a folder in the order of their names, without those of tests.
fn find(root: &Path, place: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let full = root.join(place);
    println!("cargo::rerun-if-changed={}", full.display());
    if full.is_file() {
        found.push(place.to_owned());
        return Ok(());
    }
    let mut names = fs::read_dir(&full)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    names.sort();
    for name in names {
        if !["tests", "tests.rs", "testdata"]
            .iter()
            .any(|one| name == *one)
        {
            find(root, &place.join(name), found)?;
        }
    }
    Ok(())
}

fn table(name: &str, root: &Path, files: &[PathBuf]) -> String {
    let rows: String = files
        .iter()
        .map(|file| {
            let (place, full) = (file.display().to_string(), root.join(file));
            format!("    ({place:?}, include_str!({full:?})),\n")
        })
        .collect();
    format!("pub(crate) const {name}: &[(&str, &str)] = &[\n{rows}];\n")
}
