//! Making `cargo build --target wasm32-unknown-unknown` work with the toolchain that is installed.
//!
//! Three ways, in this order: it is there; rustup fetches it; the standard library is built from its source,
//! as Debian's package `rust-src` of the same version carries it, and put into the toolchain.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Error, output, run};

/// The target of guests.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's suites in which the source of a recent version may be, newest last.
const SUITES: [&str; 4] = ["trixie", "trixie-backports", "forky", "sid"];

/// Makes the target available, and returns how.
///
/// # Errors
///
/// None of the three ways worked; the error is that of the last.
pub fn install() -> Result<&'static str, Error> {
    let library = library_folder()?;
    if is_installed(&library) {
        return Ok("installed");
    }
    // Without rustup, or without a network, the next way is tried: its error is the one that is told.
    if output(Command::new("rustup").args(["target", "add", TARGET])).is_ok()
        && is_installed(&library)
    {
        return Ok("added by rustup");
    }
    from_source(&library)?;
    if is_installed(&library) {
        return Ok("built from the source of the same version");
    }
    Err(Error::Unmet(format!(
        "{TARGET} was built and is still not found in {}",
        library.display()
    )))
}

/// Cargo as it was called, so that the toolchain stays the same.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The compiler that cargo uses.
pub(crate) fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

fn library_folder() -> Result<PathBuf, Error> {
    output(Command::new(rustc()).args(["--print", "target-libdir", "--target", TARGET]))
        .map(PathBuf::from)
}

fn is_installed(library: &Path) -> bool {
    let files = fs::read_dir(library).into_iter().flatten().flatten();
    files.map(|file| file.file_name()).any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// The version of the compiler, such as `1.95.0`, and the commit that it was built from.
fn version() -> Result<(String, String), Error> {
    let text = output(Command::new(rustc()).arg("-vV"))?;
    let line = |key: &str| {
        text.lines()
            .find_map(|line| Some(line.strip_prefix(key)?.to_owned()))
    };
    let read = line("release: ").zip(line("commit-hash: "));
    read.ok_or_else(|| {
        Error::Unmet(format!(
            "`rustc -vV` does not name its release and commit:\n{text}"
        ))
    })
}

fn from_source(library: &Path) -> Result<(), Error> {
    let work = Scratch::new()?;
    let (version, commit) = version()?;
    let source = debian_source(&work.0, &version)?;
    let package = work.0.join("std");
    make_folder(&package.join("src"))?;
    write(&package.join("src/lib.rs"), "")?;
    let manifest = "[package]\nname = \"std-for-wasm\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
                    [profile.release]\npanic = \"abort\"\n";
    write(&package.join("Cargo.toml"), manifest)?;
    let target = work.0.join("target");
    // Bitcode, because guests are optimized as a whole; the paths of the official builds, so that they come
    // out the same.
    let remap = format!(
        "--remap-path-prefix={}=/rustc/{commit}/library",
        source.display()
    );
    let mut cargo = Command::new(cargo());
    cargo
        .current_dir(&package)
        .args([
            "build",
            "--quiet",
            "--release",
            "-Z",
            "build-std=std,panic_abort",
            "--target",
            TARGET,
        ])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &source)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            format!("-Cembed-bitcode=yes\x1f{remap}"),
        )
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS");
    run(&mut cargo)?;
    copy_libraries(&target.join(TARGET).join("release").join("deps"), library)
}

fn copy_libraries(from: &Path, to: &Path) -> Result<(), Error> {
    make_folder(to)?;
    for file in fs::read_dir(from).map_err(Error::file("reading", from))? {
        let file = file.map_err(Error::file("reading", from))?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libstd_for_wasm-") {
            let kept = to.join(&name);
            fs::copy(file.path(), &kept).map_err(Error::file("writing", &kept))?;
        }
    }
    Ok(())
}

/// Fetches Debian's `rust-src` without installing it, from the archive that this machine uses already.
fn debian_source(work: &Path, version: &str) -> Result<PathBuf, Error> {
    let apt = work.join("apt");
    make_folder(&apt.join("lists/partial"))?;
    make_folder(&apt.join("cache/archives/partial"))?;
    let archives = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let archive = archives.lines().find(|line| line.ends_with("/debian/"));
    let archive = archive.ok_or_else(|| {
        Error::Unmet(format!("{TARGET} is missing, rustup cannot add it, and apt knows no Debian archive to take its source from"))
    })?;
    let lines = SUITES.map(|suite| format!("deb {archive} {suite} main\n"));
    write(&apt.join("sources.list"), &lines.concat())?;
    let options = [
        ("Dir::State::Lists", apt.join("lists")),
        ("Dir::Etc::SourceList", apt.join("sources.list")),
        ("Dir::Etc::SourceParts", PathBuf::from("/nonexistent")),
        ("Dir::Cache", apt.join("cache")),
    ];
    let with_options = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(work);
        for (key, path) in &options {
            command.arg("-o").arg(format!("{key}={}", path.display()));
        }
        command
    };
    run(with_options("apt-get").args(["-qq", "update"]))?;
    let offered = output(with_options("apt-cache").args(["madison", "rust-src"]))?;
    let offered = offered
        .lines()
        .filter_map(|line| Some(line.split('|').nth(1)?.trim()));
    let start = format!("{version}+");
    let found = offered.into_iter().find(|offer| offer.starts_with(&start)).ok_or_else(|| {
        Error::Unmet(format!("{TARGET} is missing, rustup cannot add it, and Debian has no rust-src {version} to build it from"))
    })?;
    run(with_options("apt-get").args(["-qq", "download", &format!("rust-src={found}")]))?;
    let package = first_in(work, |name| {
        name.starts_with("rust-src_") && name.ends_with(".deb")
    })?;
    let unpacked = work.join("unpacked");
    run(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
    Ok(first_in(&unpacked.join("usr/src"), |name| name.starts_with("rustc-"))?.join("library"))
}

fn first_in(folder: &Path, fits: impl Fn(&str) -> bool) -> Result<PathBuf, Error> {
    let files = fs::read_dir(folder)
        .map_err(Error::file("reading", folder))?
        .flatten();
    let mut files = files.map(|file| file.path());
    let found = files.find(|path| {
        path.file_name()
            .is_some_and(|name| fits(&name.to_string_lossy()))
    });
    found.ok_or_else(|| {
        Error::Unmet(format!(
            "{} does not hold what was expected of it",
            folder.display()
        ))
    })
}

fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("making the folder", path))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("writing", path))
}

/// A folder of our own for the time of the build.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Error> {
        let path = env::temp_dir().join(format!("oarlock-std-{}", std::process::id()));
        make_folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}
