//! `cargo xtask <task>`.

use std::path::PathBuf;
use std::process::ExitCode;

use xtask::{checkers, guests, languages, root, run, wasm_target};

const USAGE: &str = "\
Tasks of this repository.

  cargo xtask wasm-target           make the target wasm32-unknown-unknown available
  cargo xtask guests                build the guests that are kept in the repository
  cargo xtask guests --out DIR      build them into DIR instead
  cargo xtask guests --languages [--out DIR]
                                    build the counter in C, Python and JavaScript into target/languages, or into DIR
  cargo xtask checkers              install mypy and TypeScript, for the tests of generated clients
  cargo xtask guests --check        list the kept guests that are stale; exit code 1 if any is";

/// Wrong usage, as in the commands of oarlock.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["wasm-target"] => {
            wasm_target::install().map(|how| println!("{}: {how}", wasm_target::TARGET))
        }
        ["guests"] => guests::build(&root(), None),
        ["guests", "--out", folder] => guests::build(&root(), Some(&PathBuf::from(folder))),
        ["guests", "--languages"] => languages::build(&root(), None),
        ["guests", "--languages", "--out", folder] => {
            languages::build(&root(), Some(&PathBuf::from(folder)))
        }
        ["checkers"] => checkers::install(&root()),
        ["guests", "--check"] => return check(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn check() -> ExitCode {
    match guests::stale(&root()) {
        Ok(stale) if stale.is_empty() => {
            println!("every kept guest is built from the current sources");
            ExitCode::SUCCESS
        }
        Ok(stale) => {
            for (guest, why) in stale {
                eprintln!("{guest}: {why}");
            }
            eprintln!("build them anew with `cargo xtask guests`, and commit what it writes");
            ExitCode::FAILURE
        }
        Err(error) => failed(&error.into()),
    }
}

fn failed(error: &run::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
