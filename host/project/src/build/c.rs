//! C: clang for wasm32-wasi. wit-bindgen makes the bindings anew each time, into `build/bindings`. The result is a core
//! module with embedded WIT; the host makes a component of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::{Files, wit_parser::Resolve};

use crate::error::ProjectError;
use crate::project::Project;
use crate::tools::{Progress, run};

const NEEDS: &str = "A guest in C needs clang, lld, wasi-libc and the compiler's runtime for wasm32 (Debian: `apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`)";

pub(super) fn build(project: &Project, progress: Progress<'_>) -> Result<(), ProjectError> {
    let bindings = project.build_dir().join("bindings");
    fs::create_dir_all(&bindings).map_err(ProjectError::file("create", &bindings))?;
    for (name, content) in make_bindings(&project.wit())?.iter() {
        let path = bindings.join(name);
        fs::write(&path, content).map_err(ProjectError::file("write", &path))?;
    }
    progress("building with clang");
    let source = project.dir.join("src");
    let mut clang = Command::new("clang");
    clang
        .args(["--target=wasm32-wasi", "-mexec-model=reactor", "-std=c17"])
        .args(["-O2", "-Wall", "-Wextra", "-Wl,--strip-all"])
        // Only for what wit-bindgen makes.
        .args(["-Wno-unused-parameter", "-Wno-unused-variable"])
        .arg("-I")
        .arg(&bindings)
        .args(sources(&source)?)
        .args(["service.c", "service_component_type.o"].map(|name| bindings.join(name)))
        .arg("-o")
        .arg(project.module());
    run(&mut clang, NEEDS).map(drop)
}

/// The files `*.c` of a directory, in the order of their names.
fn sources(dir: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let read = |error| ProjectError::file("read", dir)(error);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|end| end == "c") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn make_bindings(wit: &Path) -> Result<Files, ProjectError> {
    let failed = |message: String| ProjectError::Bindings {
        wit: wit.to_owned(),
        message,
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(wit)
        .map_err(|error| failed(format!("{error:#}")))?;
    let world = resolve
        .select_world(&[package], Some("service"))
        .map_err(|error| failed(format!("{error:#}")))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| failed(format!("{error:#}")))?;
    Ok(files)
}
