//! Fills the template of a language. Inserted text is not searched for placeholders.

/// Replaces each `{{name}}` by its text. A line that is only a comment with a placeholder is replaced as a whole.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        values
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    };
    let mut text = String::with_capacity(template.len());
    for line in template.lines() {
        let whole = line.trim().trim_start_matches(['#', '/', ' ']);
        let whole = whole
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"));
        if let Some(value) = whole.and_then(value) {
            text.push_str(value);
        } else {
            text.push_str(&fill_line(line, &value));
        }
        text.push('\n');
    }
    text
}

fn fill_line<'a>(line: &str, value: &impl Fn(&str) -> Option<&'a str>) -> String {
    let mut parts = line.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part
            .split_once("}}")
            .and_then(|(name, rest)| Some((value(name)?, rest)))
        {
            Some((value, rest)) => text.extend([value, rest]),
            None => text.extend(["{{", part]),
        }
    }
    text
}
