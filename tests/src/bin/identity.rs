//! Runs random commands through a live, a restored and a replayed copy of each guest, and prints whether they are the same.
//!
//! `cargo run --release -p oarlock-tests --bin identity -- --commands 1000000`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use oarlock_tests::identity::{self, Guest, Language, Plan, Report};
use oarlock_tests::process::guest;

/// Runs the same random commands through three copies of a guest: one that lives on, one that is restored every so
/// often, and one that replays the log. Compares outcomes, hashes and snapshots, byte for byte.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  identity --commands 1000000
  identity --guest counter=build/counter-c.wasm --guest counter=build/counter-python.wasm --commands 10000")]
struct Options {
    /// Commands for each guest.
    #[arg(long, default_value_t = 100_000)]
    commands: u64,
    /// Equal seeds give equal commands.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A guest, and whose commands it understands: counter, kv or queue. Without any: the three example guests.
    #[arg(long, value_name = "COMMANDS=FILE", value_parser = parse_guest)]
    guest: Vec<Guest>,
    /// Prints JSON rather than a table.
    #[arg(long)]
    json: bool,
}

fn parse_guest(text: &str) -> Result<Guest, String> {
    let (language, path) = text.split_once('=').ok_or("write COMMANDS=FILE")?;
    let known = Language::ALL.iter().find(|(name, _)| *name == language);
    let (_, language) = known.ok_or("the commands are those of counter, kv or queue")?;
    let path = PathBuf::from(path);
    let name = path.file_stem().unwrap_or(path.as_os_str());
    Ok(Guest {
        name: name.to_string_lossy().into_owned(),
        language: *language,
        path,
    })
}

fn main() -> ExitCode {
    let options = Options::parse();
    let plan = Plan {
        commands: options.commands,
        seed: options.seed,
    };
    let guests = if options.guest.is_empty() {
        let example = |(name, language): (&str, Language)| Guest {
            name: name.to_owned(),
            language,
            path: guest(name),
        };
        Language::ALL.map(example).to_vec()
    } else {
        options.guest
    };
    let mut reports = Vec::new();
    let mut same = true;
    for guest in &guests {
        match identity::run(guest, &plan) {
            Ok(report) => {
                // A million commands take their time.
                eprintln!("{}: three copies are the same", report.guest);
                reports.push(report);
            }
            Err(difference) => {
                same = false;
                eprintln!("{difference}");
            }
        }
    }
    print(&reports, options.json);
    if same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(reports: &[Report], as_json: bool) {
    if as_json {
        match serde_json::to_string_pretty(reports) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("the reports have no form in JSON: {error}"),
        }
        return;
    }
    let mut rows = vec![
        [
            "guest",
            "commands",
            "entries",
            "accepted",
            "refused",
            "others",
            "wake-ups",
            "restores",
            "replayed",
            "snapshots",
            "largest",
            "hash",
        ]
        .map(str::to_owned),
    ];
    rows.extend(reports.iter().map(row));
    let widths: [usize; 12] = std::array::from_fn(|column| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    for row in rows {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 11 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn row(report: &Report) -> [String; 12] {
    [
        report.guest.clone(),
        report.commands.to_string(),
        report.entries.to_string(),
        report.accepted.to_string(),
        report.refused.to_string(),
        report.others.to_string(),
        report.wake_ups.to_string(),
        report.restores.to_string(),
        report.replayed.to_string(),
        report.snapshots.to_string(),
        format!("{} B", report.largest_bytes),
        report.state_hash.chars().take(16).collect(),
    ]
}
