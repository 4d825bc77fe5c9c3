//! `oarlock check`: describes a module, or lists every reason why a node would refuse it.

use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oarlock_wasm::{CheckError, GuestEngine, GuestModule, GuestSemantics, MachineLimits};
use serde_json::{Value, json};

use super::output::{print_safely, write_json, write_out};
use crate::cli::CheckArgs;
use crate::compiled::CompiledDir;
use crate::exit::Failure;
use crate::module_check::{CheckBudget, CheckSettings, ChildCheck};
use crate::schema::{self, GuestMessages, MessagePair, SchemaFault};

/// Checks a file as a node does at its start, and prints the result.
///
/// # Errors
/// The file cannot be read, or a node would refuse it.
pub(crate) fn check(args: CheckArgs) -> Result<(), Failure> {
    let limits = MachineLimits::default();
    let bytes = read(&args.file, limits.module_bytes)?;
    let size = bytes.len();
    let is_kept = args.compiled_dir.is_some();
    let temporary = tempfile::tempdir().map_err(Failure::failed)?;
    let dir = args
        .compiled_dir
        .unwrap_or_else(|| temporary.path().to_owned());
    let engine = engine(dir)?;
    let mut checked = GuestModule::load(&engine, bytes, &limits);
    if is_kept {
        // A node of a cluster at level 1 uses the code under the latest rules.
        let latest = MachineLimits {
            semantics: GuestSemantics::LATEST,
            ..limits
        };
        checked = checked.and_then(|module| module.under(&latest).map(|_| module));
    }
    match checked {
        Ok(module) if args.output.json => {
            write_json(std::io::stdout().lock(), &facts(&module, size))
        }
        Ok(module) => write_out(
            std::io::stdout().lock(),
            describe(&args.file, &module, size).as_bytes(),
        ),
        Err(error) => {
            if args.output.json {
                write_json(std::io::stdout().lock(), &refusal(&error))?;
            }
            Err(Failure::failed(reasons(&args.file, &error)))
        }
    }
}

/// An engine that has modules checked and compiled by a child process, as a node does.
fn engine(dir: PathBuf) -> Result<GuestEngine, Failure> {
    let settings = CheckSettings {
        in_background: false,
        ..CheckSettings::new(CheckBudget::default()).map_err(Failure::failed)?
    };
    let check = ChildCheck::new(settings, Some(dir.clone()));
    let engine = GuestEngine::new().map_err(Failure::failed)?;
    Ok(engine
        .with_store(Arc::new(CompiledDir::new(dir)))
        .with_check(Arc::new(check)))
}

/// Reads the file, up to one byte over the limit: the check then reports that it is too large.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::failed(format!(
            "cannot read {}: {error}; pass the .wasm file that your build wrote",
            path.display()
        ))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

fn optional(module: &GuestModule) -> Vec<&'static str> {
    [
        ("queries", module.has_queries()),
        ("timers", module.has_timers()),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
    .collect()
}

pub(super) fn facts(module: &GuestModule, size: usize) -> Value {
    let description = module.description();
    json!({
        "ok": true,
        "name": description.name,
        "version": description.version,
        "codec": description.codec,
        "layout": description.layout,
        "size_bytes": size,
        "sha256": module.sha256().to_string(),
        "exports": module.exports(),
        "imports": module.imports(),
        "wasi": module.uses_wasi(),
        "optional": optional(module),
        "schema": schema_facts(module),
        "undo": module.rollback_method().name(),
    })
}

/// The guest's messages, or why the schema is not valid. `None`: there is no schema.
fn messages(module: &GuestModule) -> Option<Result<GuestMessages, SchemaFault>> {
    let schema = &module.description().schema;
    (!schema.is_empty()).then(|| schema::parse(schema))
}

fn schema_facts(module: &GuestModule) -> Value {
    let names = |pairs: &[MessagePair]| {
        pairs
            .iter()
            .map(|pair| pair.name.clone())
            .collect::<Vec<_>>()
    };
    match messages(module) {
        None => Value::Null,
        Some(Ok(messages)) => json!({
            "valid": true,
            "commands": names(&messages.commands),
            "queries": names(&messages.queries),
        }),
        Some(Err(fault)) => json!({ "valid": false, "reason": fault.to_string() }),
    }
}

fn schema_line(module: &GuestModule) -> String {
    let count = |pairs: &[MessagePair], one: &str, many: &str| match pairs.len() {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    };
    match messages(module) {
        None => "none".to_owned(),
        Some(Ok(messages)) => format!(
            "{}, {}",
            count(&messages.commands, "command", "commands"),
            count(&messages.queries, "query", "queries")
        ),
        Some(Err(fault)) => format!("not valid: {fault}; `oarlock client` cannot use it"),
    }
}

fn refusal(error: &CheckError) -> Value {
    let reasons: Vec<_> = error.reasons.iter().map(ToString::to_string).collect();
    json!({ "ok": false, "reasons": reasons })
}

fn describe(path: &Path, module: &GuestModule, size: usize) -> String {
    let description = module.description();
    let list = |names: &[String]| {
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let optional = optional(module);
    let is_ours = |name: &&String| !name.starts_with("wasi:");
    let ours: Vec<String> = module.imports().iter().filter(is_ours).cloned().collect();
    let wasi = match module.imports().len() - ours.len() {
        0 => "none".to_owned(),
        interfaces => {
            format!(
                "{interfaces} interfaces: deterministic time and randomness, no files, no network"
            )
        }
    };
    let lines = [
        ("module", path.display().to_string()),
        ("name", description.name.clone()),
        ("version", description.version.to_string()),
        ("codec", description.codec.clone()),
        (
            "layout",
            description
                .layout
                .clone()
                .unwrap_or_else(|| "unknown".to_owned()),
        ),
        ("size", format!("{size} bytes")),
        ("sha256", module.sha256().to_string()),
        ("exports", list(module.exports())),
        ("imports", list(&ours)),
        ("wasi", wasi),
        (
            "optional",
            if optional.is_empty() {
                "none".to_owned()
            } else {
                optional.join(", ")
            },
        ),
        ("schema", schema_line(module)),
        ("undo by", module.rollback_method().to_string()),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<9} {}", print_safely(&value));
    }
    text.push_str("a node accepts this module\n");
    text
}

pub(super) fn reasons(path: &Path, error: &CheckError) -> String {
    let mut text = format!("a node would refuse {}:", path.display());
    for reason in &error.reasons {
        // A reason from the engine may have several lines.
        let _ = write!(text, "\n  - {}", reason.to_string().replace('\n', "\n    "));
    }
    text
}

#[cfg(test)]
mod tests;
