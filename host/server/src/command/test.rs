//! `oarlock test`: runs a suite of commands and queries against a module, in this process, on the machine of a node.

mod compare;
mod expect;
mod replica;
mod report;
mod result;
mod run;
mod suite;

use std::path::{Path, PathBuf};
use std::time::Instant;

use oarlock_wasm::THREAD_STACK_BYTES;

use super::build::{COMPILED_DIR, build_project, load};
use super::check::read;
use super::output::{write_json, write_out};
use crate::cli::TestArgs;
use crate::exit::Failure;
use suite::Suite;

/// The file of a project's suite.
const SUITE_FILE: &str = "suite.json";
/// Largest suite, in bytes.
const MAX_SUITE_BYTES: u64 = 16 << 20;

/// Runs the suite and prints what differs from the expectations.
///
/// # Errors
/// The project does not build, a file can't be read, or a step has another result than the expected one.
pub(crate) fn test(args: TestArgs) -> Result<(), Failure> {
    let (module, dir) = if args.guest.is_dir() {
        (build_project(&args.guest)?.module, args.guest.clone())
    } else {
        (load(&args.guest, kept_beside(&args.guest))?, PathBuf::new())
    };
    let path = args.suite.unwrap_or_else(|| dir.join(SUITE_FILE));
    let suite = read_suite(&path)?;
    let from = args.from.as_deref();
    let from = from.map(|file| load(file, kept_beside(file))).transpose()?;
    if from
        .as_ref()
        .is_some_and(|from| from.sha256() == module.sha256())
    {
        return Err(Failure::usage(
            "--from is the module under test; pass an earlier one",
        ));
    }
    let began = Instant::now();
    let report = on_large_stack(|| run::run(&module, from.as_ref(), &suite))??;
    if args.output.json {
        write_json(std::io::stdout().lock(), &report.as_json(&path))?;
    } else {
        let text = report.as_text(&path, began.elapsed());
        write_out(std::io::stdout().lock(), text.as_bytes())?;
    }
    match report.failed_steps() {
        0 => Ok(()),
        failed => Err(Failure::failed(format!(
            "{failed} of {} steps failed; correct the guest, or the expectation in {}",
            suite.steps.len(),
            path.display()
        ))),
    }
}

/// The directory of compiled code that `oarlock build` made in the directory of this module.
fn kept_beside(module: &Path) -> Option<PathBuf> {
    let dir = module.parent()?.join(COMPILED_DIR);
    dir.is_dir().then_some(dir)
}

fn read_suite(path: &Path) -> Result<Suite, Failure> {
    let bytes = read(path, MAX_SUITE_BYTES).map_err(|_| {
        Failure::failed(format!(
            "cannot read the suite {}; create it, or pass another file: `oarlock test GUEST SUITE.json`",
            path.display()
        ))
    })?;
    if bytes.len() as u64 > MAX_SUITE_BYTES {
        return Err(Failure::failed(format!(
            "the suite {} has more than {MAX_SUITE_BYTES} bytes; split it",
            path.display()
        )));
    }
    let invalid = |error: String| Failure::failed(format!("{}:{error}", path.display()));
    let text = String::from_utf8(bytes).map_err(|_| invalid("1: it is not UTF-8".to_owned()))?;
    Suite::parse(&text).map_err(invalid)
}

/// Runs on a thread with the stack of a node's machine.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work).map_err(|error| {
            Failure::failed(format!(
                "cannot start a thread for the guest: {error}; end other processes"
            ))
        })?;
        thread.join().map_err(|_| {
            Failure::failed("running the suite panicked; this is a bug, please report it")
        })
    })
}
