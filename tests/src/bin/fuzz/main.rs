//! Runs parsers on hostile input. A finding is a panic, an abort, and a use of time or memory over a limit.
//!
//! `cargo run -p oarlock-tests --bin fuzz -- all --executions 100000`

mod child;
mod parent;
mod server;
mod targets;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use oarlock_tests::fuzz::{FuzzPlan, from_hex};

/// Runs parsers on mutations of valid inputs. Equal seeds give equal inputs.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "Examples:
  fuzz all --executions 100000
  fuzz frame --seconds 60 --seed 7
  fuzz frame --replay 0001ff")]
struct Options {
    /// frame, hello, envelope, record, snapshot, module, http, token, or all.
    target: String,
    /// Executions of each target.
    #[arg(long, default_value_t = 100_000)]
    executions: u64,
    /// Ends each target after this time, even if executions are left.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Equal seeds give equal inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs one input, in hexadecimal digits.
    #[arg(long, value_name = "HEX", value_parser = parse_hex)]
    replay: Option<HexInput>,
    /// Runs in this process, which its parent watches.
    #[arg(long, hide = true)]
    child: bool,
    /// Writes each input to this file before it is run.
    #[arg(long, hide = true)]
    trace: Option<std::path::PathBuf>,
}

/// An input of the command line.
#[derive(Clone, Debug)]
struct HexInput(Vec<u8>);

fn parse_hex(text: &str) -> Result<HexInput, String> {
    let bytes = from_hex(text).ok_or("these are not pairs of hexadecimal digits")?;
    Ok(HexInput(bytes))
}

impl Options {
    fn plan(&self) -> FuzzPlan {
        FuzzPlan {
            executions: self.executions,
            time: self.seconds.map(Duration::from_secs),
            seed: self.seed,
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let names = targets::names(&options.target);
    if names.is_empty() {
        eprintln!(
            "there is no target {:?}; use one of {}, or all",
            options.target,
            targets::NAMES.join(", ")
        );
        return ExitCode::from(2);
    }
    let are_well = names.iter().map(|name| {
        if options.child {
            child::run(&options, name)
        } else {
            parent::run(&options, name)
        }
    });
    // All of them run, also after a finding.
    let are_well: Vec<bool> = are_well.collect();
    if are_well.iter().all(|is_well| *is_well) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
