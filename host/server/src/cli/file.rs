//! The settings file of `--config`. Its settings are added to the arguments, unless an argument or an environment
//! variable sets them too.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::origin::{Origins, key, variable};
use crate::exit::Failure;

/// Largest settings file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The flag that names the file.
const CONFIG: &str = "config";

/// The arguments with the settings of the file, and where each was set.
///
/// # Errors
/// The file cannot be read, is not TOML, or contains an unknown key.
pub(super) fn add_settings(
    definition: &clap::Command,
    mut arguments: Vec<OsString>,
    environment: &BTreeMap<String, OsString>,
) -> Result<(Vec<OsString>, Origins), Failure> {
    let (flags, given) = flags_of(&arguments);
    let mut origins = Origins {
        flags,
        file: None,
        variables: environment.keys().cloned().collect(),
    };
    let named = arguments.get(1).and_then(|name| name.to_str());
    let command = named.and_then(|name| definition.find_subcommand(name));
    let path = given.or_else(|| environment.get(&variable(CONFIG)).map(PathBuf::from));
    let (Some(command), Some(path)) = (command, path) else {
        return Ok((arguments, origins));
    };
    let settings = read(&path, definition)?;
    let mut used = BTreeSet::new();
    let mut added = Vec::new();
    for Setting { flag, values } in settings {
        let known = long_flags(command).any(|long| long == flag);
        if !known || origins.flags.contains(&flag) || environment.contains_key(&variable(&flag)) {
            continue;
        }
        added.extend(values.into_iter().map(OsString::from));
        used.insert(flag);
    }
    arguments.splice(2..2, added);
    origins.file = Some((path, used));
    Ok((arguments, origins))
}

/// One setting of the file, as arguments.
struct Setting {
    flag: String,
    values: Vec<String>,
}

/// The flags among the arguments, and the value of `--config`.
fn flags_of(arguments: &[OsString]) -> (BTreeSet<String>, Option<PathBuf>) {
    let mut flags = BTreeSet::new();
    let mut config = None;
    let mut rest = arguments.iter().map(OsString::as_os_str);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            break;
        }
        let text = argument.to_string_lossy();
        let Some(flag) = text.strip_prefix("--") else {
            continue;
        };
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (flag, None),
        };
        if flag == CONFIG {
            config = value
                .map(PathBuf::from)
                .or_else(|| rest.next().map(PathBuf::from));
        }
        flags.insert(flag.to_owned());
    }
    (flags, config)
}

fn long_flags(command: &clap::Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(clap::Arg::get_long)
}

fn read(path: &Path, definition: &clap::Command) -> Result<Vec<Setting>, Failure> {
    let shown = path.display();
    let failed = |why: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot read the settings file {shown}: {why}; pass another file to --config"
        ))
    };
    let length = std::fs::metadata(path)
        .map_err(|error| failed(&error))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(failed(&format!(
            "it has {length} bytes, the limit is {MAX_FILE_BYTES}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    let table: toml::Table = text.parse().map_err(|error| {
        Failure::usage(format!(
            "the settings file {shown} is not TOML: {error}; correct the file"
        ))
    })?;
    let known: BTreeSet<&str> = definition.get_subcommands().flat_map(long_flags).collect();
    let mut flags = BTreeSet::new();
    let mut settings = Vec::new();
    for (name, value) in table {
        let setting = setting(&name, value, path, &known)?;
        if !flags.insert(setting.flag.clone()) {
            let (key, flag) = (key(&setting.flag), &setting.flag);
            return Err(Failure::usage(format!(
                "{shown} has both `{key}` and `{flag}`, which are the same setting; remove one of them"
            )));
        }
        settings.push(setting);
    }
    Ok(settings)
}

fn setting(
    name: &str,
    value: toml::Value,
    path: &Path,
    known: &BTreeSet<&str>,
) -> Result<Setting, Failure> {
    let shown = path.display();
    let flag = name.replace('_', "-");
    let is_spelled = name == flag || name == key(&flag);
    if flag == CONFIG || !is_spelled || !known.contains(flag.as_str()) {
        let underscored = key(name);
        let near = known
            .iter()
            .map(|flag| key(flag))
            .find(|key| key.starts_with(&underscored) || underscored.starts_with(key.as_str()));
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(Failure::usage(format!(
            "unknown key `{name}` in {shown}{near}; each flag is a key, for example `node_id` or `node-id`: see `oarlock serve --help`"
        )));
    }
    let wrong = |kind: &str| {
        Failure::usage(format!(
            "the value of `{name}` in {shown} is {kind}; use a string, a number, true, false, or a list of strings"
        ))
    };
    let values = match value {
        toml::Value::Boolean(true) => vec![format!("--{flag}")],
        toml::Value::Boolean(false) => Vec::new(),
        value => {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Array(values) => {
                    let texts: Option<Vec<&str>> = values.iter().map(toml::Value::as_str).collect();
                    texts
                        .ok_or_else(|| wrong("a list with values that are not strings"))?
                        .join(",")
                }
                toml::Value::Table(_) => return Err(wrong("a table")),
                toml::Value::Datetime(_) => return Err(wrong("a date")),
                toml::Value::Boolean(_) => unreachable!("both are handled above"),
            };
            vec![format!("--{flag}={value}")]
        }
    };
    Ok(Setting { flag, values })
}
