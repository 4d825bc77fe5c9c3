//! `oarlock upgrade`: another guest takes over while clients are served.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use oarlock_client::{
    Client, EndedUpgrade, UpgradeDone, UpgradeHistory, UpgradeNodeProgress, UpgradeOptions,
    UpgradeProgress,
};

use super::connect::{block_on, connect, refused};
use super::input;
use super::output::{Output, print_coloured, print_safely, write_json, write_out};
use super::table::{Align, Table, Tone};
use crate::cli::UpgradeArgs;
use crate::exit::Failure;

/// Digits of a digest in tables and lines.
const SHORT: usize = 12;

/// Hands a module to the cluster, tells how far each node is, and prints from where on it runs.
///
/// # Errors
/// The file can't be read, no node answers, or the module is refused: the old one then goes on.
pub(crate) fn upgrade(args: UpgradeArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: UpgradeArgs) -> Result<(), Failure> {
    let client = connect(&args.endpoint)?;
    match &args.file {
        Some(file) => carry_out(&client, &args, file).await,
        None => history(&client, args.json).await,
    }
}

async fn carry_out(client: &Client, args: &UpgradeArgs, file: &Path) -> Result<(), Failure> {
    let module = input::read(None, Some(file), std::io::empty())?;
    let options = UpgradeOptions {
        dry_run: args.dry_run,
        wait: Duration::from_millis(args.wait_ms),
        by: args.by.clone(),
    };
    let upgrading = client.upgrade(module, &options);
    tokio::pin!(upgrading);
    let upgraded = tokio::select! {
        upgraded = &mut upgrading => upgraded,
        // It never ends: it only tells of the way. A program that reads JSON wants the end alone.
        () = tell_progress(client), if !args.json => upgrading.await,
    };
    let upgraded = upgraded.map_err(|error| refused(&error, &error))?;
    if args.json {
        return write_json(std::io::stdout().lock(), &upgraded);
    }
    let line = format!("{}\n", words(&upgraded));
    write_out(std::io::stdout().lock(), line.as_bytes())
}

fn words(upgraded: &UpgradeDone) -> String {
    let module = format!(
        "{} version {} ({})",
        print_safely(&upgraded.name),
        upgraded.version,
        short(&upgraded.sha256)
    );
    match upgraded.activated_index {
        None => {
            format!("every voter is ready for {module}; it was a dry run, nothing was switched")
        }
        Some(0) => format!("{module} runs since the beginning of the log"),
        Some(index) => format!("{module} runs from entry {index} on"),
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..SHORT).unwrap_or(sha256)
}

/// Says on standard error whenever a node is further than before. What can't be heard is not told.
async fn tell_progress(client: &Client) {
    let mut out = Output::new(anstream::stderr());
    let (mut revision, mut before) = (None, None);
    loop {
        let Ok(upgrades) = client.upgrades(revision).await else {
            return std::future::pending().await;
        };
        revision = Some(upgrades.revision);
        for line in news(before.as_ref(), upgrades.upgrade.as_ref()) {
            if out.line(line).is_err() {
                return std::future::pending().await;
            }
        }
        before = upgrades.upgrade;
    }
}

/// What to tell of an upgrade, after it was as `before` the last time.
fn news(before: Option<&UpgradeProgress>, now: Option<&UpgradeProgress>) -> Vec<String> {
    let Some(now) = now else {
        return Vec::new();
    };
    let before = before.filter(|before| before.index == now.index);
    let mut lines = Vec::new();
    if before.is_none() {
        let (index, bytes) = (now.index, now.bytes);
        lines.push(format!(
            "begun at entry {index}: {bytes} bytes to every node"
        ));
    }
    let all = |progress: &UpgradeProgress| progress.received_bytes == progress.bytes;
    if all(now) && !before.is_some_and(all) {
        lines.push(
            "the module has arrived; each node compiles it and tries it on a copy of the state"
                .to_owned(),
        );
    }
    let nothing = BTreeMap::new();
    let known = before.map_or(&nothing, |before| &before.nodes);
    for (node, progress) in &now.nodes {
        if known.get(node) != Some(progress)
            && let Some(line) = told(node, progress)
        {
            lines.push(line);
        }
    }
    lines
}

fn told(node: &str, progress: &UpgradeNodeProgress) -> Option<String> {
    let node = print_safely(node);
    let hash = progress.hash.as_deref().unwrap_or_default();
    match progress.state.as_str() {
        "waiting" => None,
        "ready" => Some(format!("{node} is ready (state {})", short(hash))),
        state => {
            let reason = progress.reason.as_deref().unwrap_or_default();
            Some(format!(
                "{node}: {} {}",
                print_safely(state),
                print_safely(reason)
            ))
        }
    }
}

async fn history(client: &Client, json: bool) -> Result<(), Failure> {
    let upgrades = client.upgrades(None).await;
    let upgrades = upgrades.map_err(|error| refused(&error, &error))?;
    if json {
        return write_json(std::io::stdout().lock(), &upgrades);
    }
    print_coloured(&shown(&upgrades))
}

fn shown(upgrades: &UpgradeHistory) -> String {
    let module = &upgrades.state_machine;
    let mut text = format!(
        "{} version {} ({}) runs\n",
        print_safely(&module.name),
        module.version,
        module.sha256
    );
    if let Some(upgrade) = &upgrades.upgrade {
        text.push_str(&format!(
            "{} is under way since entry {}, asked for by {}\n",
            short(&upgrade.sha256),
            upgrade.index,
            print_safely(&upgrade.by)
        ));
        let lines = upgrade
            .nodes
            .iter()
            .filter_map(|(node, progress)| told(node, progress));
        lines.for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    if !upgrades.history.is_empty() {
        text.push_str(&table(&upgrades.history).render());
    }
    text
}

fn table(history: &[EndedUpgrade]) -> Table {
    let mut table = Table::new(&[
        ("ENTRY", Align::Right),
        ("TIME (UTC)", Align::Left),
        ("MODULE", Align::Left),
        ("BY", Align::Left),
        ("END", Align::Left),
    ]);
    for record in history {
        let module = match (&record.name, record.version) {
            (Some(name), Some(version)) => {
                format!("{name} version {version} ({})", short(&record.sha256))
            }
            _ => short(&record.sha256).to_owned(),
        };
        let cells = [
            record.ended_index.to_string(),
            time(record.time_ms),
            module,
            record.by.clone(),
            record.message.clone(),
        ];
        table.row(cells.map(|cell| (print_safely(&cell).into_owned(), Tone::Plain)));
    }
    table
}

/// A time of the log, to the second; the number itself where no calendar has it.
fn time(time_ms: u64) -> String {
    /// The year 10000.
    const END_MS: u64 = 253_402_300_800_000;
    if time_ms >= END_MS {
        return format!("{time_ms} ms");
    }
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(time_ms));
    // As in `Thu, 01 Jan 1970 00:00:01 GMT`.
    let date = date.trim_end_matches(" GMT");
    date.split_once(", ")
        .map_or(date, |(_, date)| date)
        .to_owned()
}

#[cfg(test)]
mod tests;
