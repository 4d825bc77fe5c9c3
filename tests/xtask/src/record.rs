//! `dist/SOURCES`: what each kept module is, and what it was built from.

/// One guest's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The guest's name.
    pub name: String,
    /// SHA-256 of the module, in hex.
    pub module: String,
    /// SHA-256 over its sources, in hex; see [`crate::sources`].
    pub sources: String,
}

/// A line that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} is not `<guest> <sha256 of the module> <sha256 over its sources>`: write the file anew with `cargo xtask guests`"
)]
pub struct RecordError {
    /// Number of the line, from 1.
    pub line: usize,
}

const HEAD: &str = "\
# Written by `cargo xtask guests`, checked by `cargo xtask guests --check`. A line a guest:
# its name, the SHA-256 of its module, the SHA-256 over all that it was built from.
";

/// The text of the record.
pub fn write(entries: &[Entry]) -> String {
    let lines = entries
        .iter()
        .map(|it| format!("{} {} {}\n", it.name, it.module, it.sources));
    HEAD.chars()
        .chain(lines.collect::<String>().chars())
        .collect()
}

/// Reads the text of the record.
///
/// # Errors
///
/// A line has another form.
pub fn read(text: &str) -> Result<Vec<Entry>, RecordError> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| entry(line).ok_or(RecordError { line: number + 1 }))
        .collect()
}

fn entry(line: &str) -> Option<Entry> {
    let is_hash =
        |field: &str| field.len() == 64 && field.bytes().all(|byte| byte.is_ascii_hexdigit());
    match line.split(' ').collect::<Vec<_>>()[..] {
        [name, module, sources] if is_hash(module) && is_hash(sources) => Some(Entry {
            name: name.to_owned(),
            module: module.to_owned(),
            sources: sources.to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
