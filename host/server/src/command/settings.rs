//! `oarlock settings`: the replicated settings of a cluster.

use std::collections::BTreeMap;
use std::fmt::Write;

use oarlock_client::ClusterSettings;

use super::connect::{block_on, connect, refused};
use super::output::{print_coloured, print_safely, write_json};
use super::table::{Align, Table, Tone};
use crate::cli::{SettingsArgs, SettingsCommand};
use crate::exit::Failure;

/// Shows or changes the settings, and prints the result.
///
/// # Errors
/// No node responds, or the change is refused.
pub(crate) fn settings(args: SettingsArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: SettingsArgs) -> Result<(), Failure> {
    let values = match &args.command {
        Some(SettingsCommand::Set { values, .. }) => parse(values)?,
        _ => BTreeMap::new(),
    };
    let client = connect(&args.client)?;
    let settings = match &args.command {
        None | Some(SettingsCommand::Show) => client.settings().await,
        Some(SettingsCommand::Set { by, .. }) => client.set_settings(&values, by).await,
        Some(SettingsCommand::RaiseLevel) => client.raise_level().await,
    };
    let settings = settings.map_err(|error| refused(&error, &error))?;
    if args.client.output.json {
        return write_json(std::io::stdout().lock(), &settings);
    }
    let text = match &args.command {
        None | Some(SettingsCommand::Show) => shown(&settings),
        Some(SettingsCommand::Set { .. }) => changed(&values, &settings),
        Some(SettingsCommand::RaiseLevel) => format!(
            "the cluster is at level {}; nodes of an older release can't be started any more\n",
            settings.level
        ),
    };
    print_coloured(&text)
}

/// Parses arguments of the form `NAME=VALUE`.
fn parse(arguments: &[String]) -> Result<BTreeMap<String, u64>, Failure> {
    let mut values = BTreeMap::new();
    for argument in arguments {
        let parsed = argument.split_once('=').and_then(|(name, value)| {
            let value = value.replace('_', "").parse().ok()?;
            Some((name.replace('-', "_"), value))
        });
        let (name, value) = parsed.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Failure::usage(format!(
                "{argument:?} is not a setting with a value; write NAME=VALUE, for example fuel_per_command=2000000000"
            ))
        })?;
        if values.insert(name, value).is_some() {
            return Err(Failure::usage(format!(
                "{argument:?} sets a setting for the second time; name each setting once"
            )));
        }
    }
    Ok(values)
}

fn shown(settings: &ClusterSettings) -> String {
    let mut text = format!(
        "level {} (this node supports up to {})\n",
        settings.level, settings.highest_level
    );
    let Some(values) = &settings.settings else {
        text.push_str(
            "no replicated settings: at level 0 each node uses its own flags, which must be equal; run this release on \
             every node, then `oarlock settings raise-level`\n",
        );
        return text;
    };
    if let (Some(semantics), Some(table)) = (settings.semantics, settings.cost_table) {
        // Writing to a string never fails.
        let _ = writeln!(text, "semantics {semantics}, cost table {table}");
    }
    let mut table = Table::new(&[("SETTING", Align::Left), ("VALUE", Align::Right)]);
    for (name, value) in values {
        let cells = [name.clone(), value.to_string()];
        table.row(cells.map(|cell| (print_safely(&cell).into_owned(), Tone::Plain)));
    }
    text.push_str(&table.render());
    for differing in &settings.differing {
        let source = match &differing.flag {
            Some(flag) => format!("--{flag}"),
            None => format!("the default of {}", differing.name),
        };
        let _ = writeln!(
            text,
            "{} is {} on the responding node and does not apply",
            print_safely(&source),
            differing.own
        );
    }
    text
}

fn changed(values: &BTreeMap<String, u64>, settings: &ClusterSettings) -> String {
    let mut text = String::new();
    for (name, value) in values {
        let _ = writeln!(text, "{} is {value}", print_safely(name));
    }
    if let Some(index) = settings.index {
        let _ = writeln!(text, "from entry {index} on");
    }
    text
}

#[cfg(test)]
mod tests;
