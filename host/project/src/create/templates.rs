//! The templates: paths and contents of a project's files. `{{name}}`, `{{module}}`, `{{sdk}}`, `{{sdk with schema}}` and
//! `{{queue}}` are placeholders.

use crate::kind::ProjectKind;
use crate::language::Language;

type Files = &'static [(&'static str, &'static str)];

/// The files of a language.
pub(super) fn template(language: Language, kind: ProjectKind) -> Files {
    match language {
        Language::Rust if kind == ProjectKind::Queue => QUEUE,
        Language::Rust => RUST,
        Language::Python => PYTHON,
        Language::JavaScript => JAVASCRIPT,
        Language::C => C,
    }
}

/// Whether the project gets the WIT. That of Rust is in the SDK.
pub(super) fn with_wit(language: Language) -> bool {
    language != Language::Rust
}

macro_rules! own {
    ($path:literal) => {
        include_str!(concat!("../../templates/", $path))
    };
}

macro_rules! sdk {
    ($path:literal) => {
        include_str!(concat!("../../../../guest-sdk/", $path))
    };
}

macro_rules! example {
    ($path:literal) => {
        include_str!(concat!("../../../../examples-wasm/", $path))
    };
}

const RUST: Files = &[
    ("Cargo.toml", own!("rust/Cargo.toml.txt")),
    ("src/lib.rs", own!("rust/lib.rs.txt")),
    ("src/tests.rs", own!("rust/tests.rs.txt")),
    ("src/schema.json", own!("rust/schema.json.txt")),
    ("suite.json", own!("suite.json")),
    ("README.md", own!("rust/README.md.txt")),
    // Forbids functions that are not deterministic or do not exist in a module.
    (
        "clippy.toml",
        include_str!("../../../../guest-sdk/clippy.toml"),
    ),
    (".gitignore", "/target\n/build\n"),
];

const QUEUE: Files = &[
    ("Cargo.toml", own!("queue/Cargo.toml.txt")),
    ("src/lib.rs", own!("queue/lib.rs.txt")),
    ("src/tests.rs", own!("queue/tests.rs.txt")),
    ("suite.json", own!("queue/suite.json")),
    ("README.md", own!("queue/README.md.txt")),
    (
        "clippy.toml",
        include_str!("../../../../guest-sdk/clippy.toml"),
    ),
    (".gitignore", "/target\n/build\n"),
];

const PYTHON: Files = &[
    ("src/state_machine.py", own!("python/state_machine.py")),
    ("src/fields.py", own!("python/fields.py")),
    ("src/app.py", own!("python/app.py")),
    ("src/oarlock.py", sdk!("python/oarlock.py")),
    ("suite.json", own!("suite.json")),
    ("requirements.txt", own!("python/requirements.txt")),
    ("README.md", own!("python/README.md.txt")),
    (".gitignore", "/.venv\n/build\n__pycache__/\n"),
];

const JAVASCRIPT: Files = &[
    ("src/state-machine.js", own!("javascript/state-machine.js")),
    ("src/fields.js", own!("javascript/fields.js")),
    ("src/app.js", own!("javascript/app.js")),
    ("src/oarlock.js", sdk!("javascript/oarlock.js")),
    ("suite.json", own!("javascript/suite.json")),
    // The tools of the build, in exact versions.
    ("package.json", example!("counter-js/package.json")),
    (
        "package-lock.json",
        example!("counter-js/package-lock.json"),
    ),
    ("README.md", own!("javascript/README.md.txt")),
    (".gitignore", "/node_modules\n/build\n"),
];

const C: Files = &[
    ("src/state_machine.c", own!("c/state_machine.c")),
    ("src/state_machine.h", own!("c/state_machine.h")),
    ("src/app.c", own!("c/app.c")),
    ("src/json.c", example!("counter-c/json.c")),
    ("src/json.h", example!("counter-c/json.h")),
    ("src/text.c", example!("counter-c/text.c")),
    ("src/text.h", example!("counter-c/text.h")),
    ("suite.json", own!("c/suite.json")),
    ("README.md", own!("c/README.md.txt")),
    (".gitignore", "/build\n"),
];
