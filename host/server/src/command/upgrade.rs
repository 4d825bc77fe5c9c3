//! `oarlock upgrade`: upgrades the cluster to another module, or shows past upgrades.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use oarlock_client::{
    Client, EndedUpgrade, FirstModuleInfo, UpgradeDone, UpgradeHistory, UpgradeNodeProgress,
    UpgradeOptions, UpgradeProgress,
};

use oarlock_wasm::GuestModule;

use super::connect::{block_on, connect, refused};
use super::input;
use super::output::{Output, print_coloured, print_safely, write_json, write_out};
use super::table::{Align, Table, Tone};
use crate::built_in;
use crate::cli::UpgradeArgs;
use crate::exit::Failure;
use crate::signers::{read_signature, signature_path};
use crate::timestamp::utc;

/// Digits of a hash in tables and lines.
const SHORT: usize = 12;

/// Upgrades the cluster and prints the progress of each node, then the entry that activated the module.
///
/// # Errors
/// The file cannot be read, no node responds, or the upgrade was refused. The current module keeps running.
pub(crate) fn upgrade(args: UpgradeArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: UpgradeArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let module = match &args.file {
        Some(file) => binary_of(file)?,
        None if args.built_in => built_in::queue().to_vec(),
        None => return history(&client, args.client.output.json).await,
    };
    carry_out(&client, &args, module).await
}

/// The binary of a module, which may be in the text format.
fn binary_of(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = input::read(None, Some(file), std::io::empty())?;
    let binary = GuestModule::binary_of(bytes.into());
    let refused = |reason| Failure::failed(format!("{}: {reason}", file.display()));
    binary.map(Vec::from).map_err(refused)
}

async fn carry_out(client: &Client, args: &UpgradeArgs, module: Vec<u8>) -> Result<(), Failure> {
    let options = UpgradeOptions {
        dry_run: args.dry_run,
        replace_machine: args.replace_machine,
        wait: Duration::from_millis(args.wait_ms),
        by: args.by.clone(),
        signature: signature(args)?,
    };
    let upgrading = client.upgrade(module, &options);
    tokio::pin!(upgrading);
    let upgraded = tokio::select! {
        upgraded = &mut upgrading => upgraded,
        // Never completes. With --json only the result is printed.
        () = print_progress(client), if !args.client.output.json => upgrading.await,
    };
    let upgraded = upgraded.map_err(|error| refused(&error, &error))?;
    if args.client.output.json {
        return write_json(std::io::stdout().lock(), &upgraded);
    }
    let line = format!("{}\n", summary(&upgraded));
    write_out(std::io::stdout().lock(), line.as_bytes())
}

/// The signature in the file that was named, or in the one next to the module, if there is one.
fn signature(args: &UpgradeArgs) -> Result<Option<String>, Failure> {
    let (path, is_named) = match (&args.signature, &args.file) {
        (Some(path), _) => (path.clone(), true),
        (None, Some(file)) => (signature_path(file), false),
        (None, None) => return Ok(None),
    };
    let found = read_signature(&path).map_err(Failure::failed)?;
    if found.is_none() && is_named {
        return Err(Failure::failed(format!(
            "there is no file {}; create it with `oarlock sign-module`",
            path.display()
        )));
    }
    Ok(found)
}

fn summary(upgraded: &UpgradeDone) -> String {
    let module = format!(
        "{} version {} ({})",
        print_safely(&upgraded.name),
        upgraded.version,
        short(&upgraded.sha256)
    );
    match upgraded.activated_index {
        None => {
            format!("dry run passed: every voter is ready for {module}; nothing was activated")
        }
        Some(0) => format!("{module} has been active since the start of the log"),
        Some(index) => format!("{module} is active from entry {index} on"),
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..SHORT).unwrap_or(sha256)
}

/// Prints progress on standard error. Stops, without an error, if no node responds or the output is closed.
async fn print_progress(client: &Client) {
    let mut out = Output::new(anstream::stderr());
    let (mut revision, mut before) = (None, None);
    loop {
        let Ok(upgrades) = client.upgrades(revision).await else {
            return std::future::pending().await;
        };
        revision = Some(upgrades.revision);
        for line in changes(before.as_ref(), upgrades.upgrade.as_ref()) {
            if out.line(line).is_err() {
                return std::future::pending().await;
            }
        }
        before = upgrades.upgrade;
    }
}

/// Lines for what changed since `before`.
fn changes(before: Option<&UpgradeProgress>, now: Option<&UpgradeProgress>) -> Vec<String> {
    let Some(now) = now else {
        return Vec::new();
    };
    let before = before.filter(|before| before.index == now.index);
    let mut lines = Vec::new();
    if before.is_none() {
        let (index, bytes) = (now.index, now.bytes);
        lines.push(format!(
            "upgrade began at entry {index}: sending {bytes} bytes to every node"
        ));
    }
    let all = |progress: &UpgradeProgress| progress.received_bytes == progress.bytes;
    if all(now) && !before.is_some_and(all) {
        lines.push(
            "module received; every node compiles it and tries it on a copy of the state"
                .to_owned(),
        );
    }
    let nothing = BTreeMap::new();
    let known = before.map_or(&nothing, |before| &before.nodes);
    for (node, progress) in &now.nodes {
        if known.get(node) != Some(progress)
            && let Some(line) = node_line(node, progress)
        {
            lines.push(line);
        }
    }
    lines
}

fn node_line(node: &str, progress: &UpgradeNodeProgress) -> Option<String> {
    let node = print_safely(node);
    let hash = progress.hash.as_deref().unwrap_or_default();
    match progress.state.as_str() {
        "waiting" => None,
        "ready" => Some(format!("{node}: ready (state hash {})", short(hash))),
        state => {
            let reason = one_line(progress.reason.as_deref().unwrap_or_default());
            Some(format!("{node}: {}: {reason}", print_safely(state)))
        }
    }
}

async fn history(client: &Client, json: bool) -> Result<(), Failure> {
    let upgrades = client.upgrades(None).await;
    let upgrades = upgrades.map_err(|error| refused(&error, &error))?;
    if json {
        return write_json(std::io::stdout().lock(), &upgrades);
    }
    print_coloured(&as_text(&upgrades))
}

fn as_text(upgrades: &UpgradeHistory) -> String {
    let module = &upgrades.state_machine;
    let mut text = format!(
        "active module: {} version {} ({})\n",
        print_safely(&module.name),
        module.version,
        module.sha256
    );
    if let Some(layout) = module.layout() {
        text.push_str(&format!("layout of its state: {}\n", print_safely(layout)));
    }
    if let Some(upgrade) = &upgrades.upgrade {
        text.push_str(&format!(
            "in progress: module {} since entry {}, requested by {}\n",
            short(&upgrade.sha256),
            upgrade.index,
            print_safely(&upgrade.by)
        ));
        let lines = upgrade
            .nodes
            .iter()
            .filter_map(|(node, progress)| node_line(node, progress));
        lines.for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    if !upgrades.history.is_empty() {
        let table = table(&upgrades.history, upgrades.first_module.as_ref());
        text.push_str(&table.render());
        if table.has_cut_cells() {
            text.push_str("some cells are cut (…); --json prints them in full\n");
        }
    }
    text
}

/// The history, and the module with which the log begins as its last row.
fn table(history: &[EndedUpgrade], first: Option<&FirstModuleInfo>) -> Table {
    let mut table = Table::new(&[
        ("ENTRY", Align::Right),
        ("TIME", Align::Left),
        ("MODULE", Align::Left),
        ("REQUESTED BY", Align::Left),
        ("RESULT", Align::Left),
    ]);
    for record in history {
        let module = module_cell(record.name.as_deref(), record.version, &record.sha256);
        let cells = [
            record.ended_index.to_string(),
            utc(record.time_ms),
            module,
            record.by.clone(),
            record.message.clone(),
        ];
        table.row(cells.map(|cell| (one_line(&cell), Tone::Plain)));
    }
    if let Some(first) = first {
        let module = module_cell(first.name.as_deref(), first.version, &first.sha256);
        let cells = ["0", "", module.as_str(), "", "the log begins with it"];
        table.row(cells.map(|cell| (one_line(cell), Tone::Plain)));
    }
    table
}

fn module_cell(name: Option<&str>, version: Option<u32>, sha256: &str) -> String {
    match (name, version) {
        (Some(name), Some(version)) => format!("{name} version {version} ({})", short(sha256)),
        _ => short(sha256).to_owned(),
    }
}

/// A text in one line: an error of a guest may have several.
fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    print_safely(&joined).into_owned()
}

#[cfg(test)]
mod tests;
