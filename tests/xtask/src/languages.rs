//! The counter in C, Python and JavaScript, the lock service in Python and JavaScript, and a mailbox in C: built where their
//! tools are, never kept.
//!
//! Each is made of the sources in `examples-wasm`, of `guest-sdk` and of `wit/`. Tools of one language come from Debian, those of
//! the others from their registries in exactly these versions, into folders of their own below `target`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::{Files, wit_parser::Resolve};

use crate::run::{Error, output, run};

/// The version of `componentize-py`.
const COMPONENTIZE_PY: &str = "0.25.1";

/// A guest in another language.
#[derive(Debug, Clone, Copy)]
pub struct Language {
    /// What it is called, and the name of its module.
    pub name: &'static str,
    /// The folder of its sources in `examples-wasm`.
    source: &'static str,
    /// A guest for tests that recurses as deep as its input, without the limit on the nesting of JSON, and without an end at
    /// the command `{"recurse":{}}`.
    is_deep: bool,
    /// Files of `guest-sdk` that are copied next to its sources.
    helper: &'static [&'static str],
    /// The guest with which it shares the tools.
    tools: &'static str,
    /// How to come by what it needs.
    needs: &'static str,
    build: fn(&Places) -> Result<(), Error>,
}

const CLANG: &str =
    "it needs clang, lld, wasi-libc and libclang-rt-dev-wasm32; Debian has packages of these names";
const PYTHON: &str = "it needs python3 of version 3.10 or later with its module venv, and PyPI";
const NODE: &str = "it needs node of version 20 or later with npm, and the npm registry";

/// All of them.
pub const LANGUAGES: [Language; 8] = [
    Language {
        name: "counter-c",
        source: "counter-c",
        is_deep: false,
        helper: &[],
        tools: "counter-c",
        needs: CLANG,
        build: c,
    },
    Language {
        name: "deep-c",
        source: "counter-c",
        is_deep: true,
        helper: &[],
        tools: "deep-c",
        needs: CLANG,
        build: c,
    },
    Language {
        name: "counter-python",
        source: "counter-python",
        is_deep: false,
        helper: &[],
        tools: "counter-python",
        needs: PYTHON,
        build: python,
    },
    Language {
        name: "counter-js",
        source: "counter-js",
        is_deep: false,
        helper: &[],
        tools: "counter-js",
        needs: NODE,
        build: javascript,
    },
    Language {
        name: "deep-js",
        source: "counter-js",
        is_deep: true,
        helper: &[],
        tools: "deep-js",
        needs: NODE,
        build: javascript,
    },
    Language {
        name: "mailbox-c",
        source: "mailbox-c",
        is_deep: false,
        helper: &["guest-sdk/c/oarlock.c", "guest-sdk/c/oarlock.h"],
        tools: "mailbox-c",
        needs: CLANG,
        build: c,
    },
    Language {
        name: "lock-python",
        source: "lock-python",
        is_deep: false,
        helper: &["guest-sdk/python/oarlock.py"],
        tools: "counter-python",
        needs: PYTHON,
        build: python,
    },
    Language {
        name: "lock-js",
        source: "lock-js",
        is_deep: false,
        helper: &["guest-sdk/javascript/oarlock.js"],
        tools: "counter-js",
        needs: NODE,
        build: javascript,
    },
];

/// Where a guest is built.
struct Places {
    /// Its sources.
    source: PathBuf,
    /// See [`Language::is_deep`].
    is_deep: bool,
    wit: PathBuf,
    /// The packages of JavaScript that the build needs.
    packages: PathBuf,
    /// What the build needs and leaves.
    work: PathBuf,
    /// The module.
    module: PathBuf,
}

/// Builds all of them into `out`, or into `target/languages`. One that fails does not keep the others from being built.
///
/// # Errors
/// At least one could not be built: what it needs, and how it failed.
pub fn build(root: &Path, out: Option<&Path>) -> Result<(), Error> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let out = out.map_or_else(|| target.join("languages"), |out| root.join(out));
    make_folder(&out)?;
    let mut failures = Vec::new();
    for language in LANGUAGES {
        let work = target.join("languages").join("tools").join(language.tools);
        let built = sources(root, &language, &work).and_then(|source| {
            let places = Places {
                source,
                is_deep: language.is_deep,
                wit: root.join("wit"),
                packages: root.join("examples-wasm/counter-js"),
                work,
                module: out.join(language.name).with_extension("wasm"),
            };
            (language.build)(&places).map(|()| places)
        });
        match built.and_then(|places| Ok((size(&places.module)?, places.module))) {
            Ok((bytes, module)) => println!("{}: {bytes} bytes", module.display()),
            Err(error) => {
                failures.push(format!("{}: {error}; {}", language.name, language.needs));
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Unmet(failures.join("\n")))
}

/// The folder with the sources of a guest: that of the repository, or a copy with its helper.
fn sources(root: &Path, language: &Language, work: &Path) -> Result<PathBuf, Error> {
    make_folder(work)?;
    let source = root.join("examples-wasm").join(language.source);
    if language.helper.is_empty() {
        return Ok(source);
    }
    let copy = work.join(language.name);
    make_folder(&copy)?;
    let mut files: Vec<PathBuf> = language.helper.iter().map(|file| root.join(file)).collect();
    for entry in fs::read_dir(&source).map_err(Error::file("reading", &source))? {
        files.push(entry.map_err(Error::file("reading", &source))?.path());
    }
    for from in files.iter().filter(|file| file.is_file()) {
        let to = copy.join(from.file_name().unwrap_or_default());
        fs::copy(from, &to).map_err(Error::file("writing", &to))?;
    }
    Ok(copy)
}

/// Clang for wasm32-wasi, with bindings that wit-bindgen makes anew each time.
fn c(places: &Places) -> Result<(), Error> {
    for (name, content) in bindings(&places.wit)?.iter() {
        let path = places.work.join(name);
        fs::write(&path, content).map_err(Error::file("writing", &path))?;
    }
    let mut own = Vec::new();
    let source = source_of_c(places)?;
    for entry in fs::read_dir(&source).map_err(Error::file("reading", &source))? {
        let path = entry.map_err(Error::file("reading", &source))?.path();
        own.extend(
            path.extension()
                .is_some_and(|end| end == "c")
                .then_some(path),
        );
    }
    own.sort();
    let made = ["service.c", "service_component_type.o"].map(|name| places.work.join(name));
    let mut clang = Command::new("clang");
    clang
        .args(["--target=wasm32-wasi", "-mexec-model=reactor", "-std=c17"])
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all"])
        // The stack of C is in memory, so it is not the limit here.
        .args(places.is_deep.then_some("-Wl,-z,stack-size=67108864"))
        // Only for what wit-bindgen makes.
        .args(["-Wno-unused-parameter", "-Wno-unused-variable"])
        .arg("-I")
        .arg(&places.work)
        .args(own)
        .args(made)
        .arg("-o")
        .arg(&places.module);
    run(&mut clang)
}

/// Its sources, or a copy without the limit on nesting and with the command `{"recurse":{}}`, which never ends.
fn source_of_c(places: &Places) -> Result<PathBuf, Error> {
    const APPLY: &str = "static bool apply(struct span command, struct text *out) {\n";
    /// The compiler neither rejects it nor makes a loop of it: it can't know that `ends` stays false.
    const RECURSE: &str = r#"static volatile bool ends;

__attribute__((noinline)) static unsigned recurse(unsigned depth) {
  volatile unsigned here = depth;
  return ends ? here : recurse(here + 1) + here;
}

"#;
    const CALL: &str = r#"  static const char endless[] = "{\"recurse\":{}}";
  if (command.length == sizeof endless - 1 && memcmp(command.start, endless, command.length) == 0) return recurse(0) == 0;
"#;
    if !places.is_deep {
        return Ok(places.source.clone());
    }
    let apply = format!("{RECURSE}{APPLY}{CALL}");
    deep_copy(
        places,
        &["counter.c", "json.c", "json.h", "text.c", "text.h"],
        &[
            ("counter.c", APPLY, &apply),
            (
                "json.c",
                "#define MAX_DEPTH 128",
                "#define MAX_DEPTH 1000000000",
            ),
        ],
    )
}

fn bindings(wit: &Path) -> Result<Files, Error> {
    let failed = |error| Error::Unmet(format!("no bindings for C could be made: {error:#}"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).map_err(failed)?;
    let world = resolve
        .select_world(&[package], Some("service"))
        .map_err(failed)?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(failed)?;
    Ok(files)
}

/// `componentize-py`, which starts the interpreter, imports the program and writes down what memory then holds.
fn python(places: &Places) -> Result<(), Error> {
    let environment = places.work.join("venv");
    let programs = environment.join("bin");
    let tool = programs.join("componentize-py");
    let installed =
        tool.exists() && output(Command::new(&tool).arg("--version"))?.ends_with(COMPONENTIZE_PY);
    if !installed {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment))?;
        run(Command::new(programs.join("python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
            ])
            .arg(format!("componentize-py=={COMPONENTIZE_PY}")))?;
    }
    run(Command::new(&tool)
        .arg("--wit-path")
        .arg(&places.wit)
        .args(["--world", "service", "--quiet", "componentize", "app"])
        .arg("--python-path")
        .arg(&places.source)
        .arg("--output")
        .arg(&places.module)
        .env_remove("VIRTUAL_ENV"))
}

/// `componentize-js`, which does the same with the engine of Firefox. Versions are those of the guest's lock file.
fn javascript(places: &Places) -> Result<(), Error> {
    let modules = places.work.join("node_modules");
    let (mut is_fresh, names) = (modules.exists(), ["package.json", "package-lock.json"]);
    for name in names {
        let (from, to) = (places.packages.join(name), places.work.join(name));
        let wanted = fs::read(&from).map_err(Error::file("reading", &from))?;
        if fs::read(&to).ok().as_ref() != Some(&wanted) {
            is_fresh = false;
            fs::write(&to, wanted).map_err(Error::file("writing", &to))?;
        }
    }
    if !is_fresh {
        run(Command::new("npm").current_dir(&places.work).args([
            "ci",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]))?;
    }
    let source = if places.is_deep {
        deep_javascript(places)?
    } else {
        places.source.clone()
    };
    // Without the parts of the engine that would import HTTP.
    run(Command::new("node")
        .arg(modules.join("@bytecodealliance/componentize-js/src/cli.js"))
        .arg(source.join("app.js"))
        .arg("--wit")
        .arg(&places.wit)
        .args([
            "--world-name",
            "service",
            "--disable",
            "http",
            "fetch-event",
        ])
        .arg("--out")
        .arg(&places.module)
        .stdout(std::process::Stdio::null()))
}

/// Copies the sources, without the limit on nesting and with the command `{"recurse":{}}`, which never ends.
fn deep_javascript(places: &Places) -> Result<PathBuf, Error> {
    const APPLY: &str = "  apply(command) {\n";
    const CALL: &str = r#"  apply(command) {
    if (command instanceof Map && command.has("recurse")) {
      const recurse = (depth) => recurse(depth + 1) + depth;
      return `{"value":${recurse(0)}}`;
    }
"#;
    deep_copy(
        places,
        &["app.js", "counter.js", "messages.js"],
        &[
            ("counter.js", APPLY, CALL),
            ("messages.js", "    refuseTooDeep(text);\n", ""),
        ],
    )
}

/// Copies files of the sources. `edits`: a file, a text that it has once, and what replaces it.
fn deep_copy(
    places: &Places,
    files: &[&str],
    edits: &[(&str, &str, &str)],
) -> Result<PathBuf, Error> {
    let folder = places.work.join("deep");
    make_folder(&folder)?;
    for &name in files {
        let (from, to) = (places.source.join(name), folder.join(name));
        let mut text = fs::read_to_string(&from).map_err(Error::file("reading", &from))?;
        for (_, before, after) in edits.iter().filter(|(file, ..)| *file == name) {
            if text.matches(before).count() != 1 {
                let missing = format!("{} does not have this once: `{before}`", from.display());
                return Err(Error::Unmet(missing));
            }
            text = text.replace(before, after);
        }
        fs::write(&to, text).map_err(Error::file("writing", &to))?;
    }
    Ok(folder)
}

fn size(module: &Path) -> Result<u64, Error> {
    let metadata = fs::metadata(module).map_err(Error::file("reading", module))?;
    Ok(metadata.len())
}

fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("making the folder", path))
}
