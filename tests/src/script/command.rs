//! The commands of a script.

use std::collections::BTreeMap;

/// One command: its name, its arguments, and its `key=value` pairs. A list value is written `(a,b)`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub name: String,
    /// Arguments after the name.
    pub args: Vec<String>,
    /// Options.
    pub options: BTreeMap<String, Vec<String>>,
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// Where it is empty, or names an option twice.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut args = line.split_whitespace();
        let name = args.next().ok_or("the command is missing")?.to_owned();
        let mut command = Self {
            name,
            ..Self::default()
        };
        for arg in args {
            match arg.split_once('=') {
                Some((key, value)) => {
                    let list = value.trim_start_matches('(').trim_end_matches(')');
                    let values = list.split(',').filter(|value| !value.is_empty());
                    let values = values.map(str::to_owned).collect();
                    if command.options.insert(key.to_owned(), values).is_some() {
                        return Err(format!("{key} is given twice"));
                    }
                }
                None => command.args.push(arg.to_owned()),
            }
        }
        Ok(command)
    }

    /// The argument at this position.
    ///
    /// # Errors
    /// Where there is none.
    pub fn arg(&self, at: usize) -> Result<&str, String> {
        let arg = self.args.get(at).map(String::as_str);
        arg.ok_or_else(|| format!("{} needs {} arguments", self.name, at + 1))
    }

    /// The number at this place.
    ///
    /// # Errors
    /// Where there is none.
    pub fn number(&self, at: usize) -> Result<u64, String> {
        number(self.arg(at)?)
    }

    /// The numbers of an option; empty where it is not given.
    ///
    /// # Errors
    /// Where one is no number.
    pub fn list(&self, key: &str) -> Result<Vec<u64>, String> {
        let values = self.options.get(key).into_iter().flatten();
        values.map(|value| number(value)).collect()
    }

    /// The one number of an option.
    ///
    /// # Errors
    /// Where it is no single number.
    pub fn option(&self, key: &str) -> Result<Option<u64>, String> {
        match self.list(key)?[..] {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(format!("{key} takes one number")),
        }
    }

    /// The arguments from this position on, as numbers.
    ///
    /// # Errors
    /// Where one is no number.
    pub fn numbers_from(&self, at: usize) -> Result<Vec<u64>, String> {
        let args = self.args.iter().skip(at);
        args.map(|arg| number(arg)).collect()
    }

    /// Whether all options are among these.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check_options(&self, known: &[&str]) -> Result<(), String> {
        let strange = self
            .options
            .keys()
            .find(|key| !known.contains(&key.as_str()));
        strange.map_or(Ok(()), |key| {
            Err(format!("{} has no option {key}", self.name))
        })
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}
