//! Runs the scenario scripts, and refreshes their output on request.
//!
//! `cargo run -p oarlock-tests --bin scripts -- --rewrite`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use oarlock_tests::script::{self, Verdict};

/// Runs scenario scripts and compares what the nodes do with the files.
#[derive(Debug, Parser)]
struct Options {
    /// Writes the output anew. Read the difference before you keep it.
    #[arg(long)]
    rewrite: bool,
    /// Script files; without any, all of `tests/scripts`.
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let files = if options.files.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        match script::files(&folder) {
            Ok(files) => files,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        options.files
    };
    let mut good = true;
    for file in files {
        let verdict = script::check(&file, options.rewrite);
        let text = match &verdict {
            Ok(Verdict::Same) => "same".to_owned(),
            Ok(Verdict::Differs(..)) if options.rewrite => "rewritten".to_owned(),
            Ok(Verdict::Differs(line, then, now)) => {
                good = false;
                format!("differs at line {line}:\n  file:  {then}\n  nodes: {now}")
            }
            Err(error) => {
                good = false;
                error.to_string()
            }
        };
        println!("{}: {text}", file.display());
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
