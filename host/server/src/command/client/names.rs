//! Names and texts of a schema as identifiers, literals and comments. They come from a module, so whatever could end a
//! literal or a comment is escaped or replaced.

use std::collections::BTreeSet;

/// Most lines of a description that become a comment.
const MAX_LINES: usize = 20;

/// Gives each thing of one scope its own identifier.
#[derive(Debug, Default)]
pub(super) struct Identifiers {
    taken: BTreeSet<String>,
}

impl Identifiers {
    /// Begins with names that the generated code or its language uses.
    pub(super) fn reserving(names: &[&str]) -> Self {
        Self {
            taken: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// The wanted identifier. If it is taken, another one: `in_`, `in_2`; for types `Event2`.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let ends_as_member = wanted.starts_with(|c: char| c.is_ascii_lowercase());
        let base = if ends_as_member {
            format!("{wanted}_")
        } else {
            wanted.to_owned()
        };
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            name = match number {
                1 if ends_as_member => base.clone(),
                1 => format!("{base}2"),
                _ => format!("{base}{number}"),
            };
            number += 1;
        }
        name
    }
}

/// `lease_ms`. Only a-z, 0-9 and `_`; the first is a letter.
pub(super) fn snake(name: &str) -> String {
    words(name).join("_")
}

/// `LeaseMs`.
pub(super) fn pascal(name: &str) -> String {
    words(name).iter().map(|word| capital(word)).collect()
}

/// `leaseMs`.
pub(super) fn camel(name: &str) -> String {
    let words = words(name);
    let rest = words[1..].iter().map(|word| capital(word));
    std::iter::once(words[0].clone()).chain(rest).collect()
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// The parts of a name in lower case: at least one, and the first begins with a letter. Other characters than ASCII
/// letters and digits separate parts.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut is_new, mut was_lower) = (true, false);
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            is_new = true;
            continue;
        }
        if is_new || (was_lower && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c.to_ascii_lowercase());
        }
        (is_new, was_lower) = (false, !c.is_ascii_uppercase());
    }
    if words
        .first()
        .is_none_or(|word| word.starts_with(|c: char| c.is_ascii_digit()))
    {
        words.insert(0, "x".to_owned());
    }
    words
}

/// A literal in double quotes. `escape` writes a character that is not printable ASCII.
pub(super) fn literal(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            ' '..='~' => literal.push(c),
            other => literal.push_str(&escape(other)),
        }
    }
    literal.push('"');
    literal
}

/// `\u{e9}`, as in Rust and JavaScript.
pub(super) fn braced_escape(c: char) -> String {
    format!("\\u{{{:x}}}", u32::from(c))
}

/// A description as lines of a comment: letters, digits, and punctuation of ASCII without `\`, `*/` and `"""`. There
/// are no control characters, and none that change the direction of text.
pub(super) fn comment(text: &str) -> Vec<String> {
    let plain = |c: char| match c {
        '\\' => '/',
        '"' => '\'',
        ' '..='~' => c,
        '\t' => ' ',
        _ if c.is_alphanumeric() => c,
        '…' | '–' | '—' | '’' => c,
        _ => '?',
    };
    let lines = text.lines().map(|line| {
        let line: String = line.trim().chars().map(plain).collect();
        line.replace("*/", "* /").replace("/*", "/ *")
    });
    let mut lines: Vec<String> = lines.take(MAX_LINES).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The same in one line.
pub(super) fn one_line(text: &str) -> String {
    comment(text).join(" ")
}
