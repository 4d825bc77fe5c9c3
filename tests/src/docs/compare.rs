//! Compares an output with what a page says.

/// Stands for any text in a line, or for any number of lines if it is alone in one.
const ANYTHING: char = '…';

/// How an output differs from the expected one; `None` if it does not. Spaces in a row count as one, and empty lines do not count.
pub fn mismatch(expected: &str, output: &str) -> Option<String> {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(one_space);
        lines.filter(|line| !line.is_empty()).collect()
    };
    let (wanted, found) = (lines(expected), lines(output));
    (!lines_match(&wanted, &found))
        .then(|| format!("---- the page has\n{expected}\n---- the output is\n{output}\n----"))
}

fn one_space(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines_match(wanted: &[String], found: &[String]) -> bool {
    let Some((first, rest)) = wanted.split_first() else {
        return found.is_empty();
    };
    if *first == ANYTHING.to_string() {
        return (0..=found.len()).any(|skipped| lines_match(rest, &found[skipped..]));
    }
    let Some((line, others)) = found.split_first() else {
        return false;
    };
    line_matches(first, line) && lines_match(rest, others)
}

fn line_matches(wanted: &str, found: &str) -> bool {
    let mut parts = wanted.split(ANYTHING).map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::mismatch;

    #[test]
    fn an_output_is_compared_line_by_line() {
        for (expected, output) in [
            ("a  b\n", "a b"),
            ("a … d", "a b c d"),
            ("…", ""),
            ("…\nb\n…", "a\nb\nc\nd"),
            ("id … at 1", "id  7 at 1\n\n"),
            ("{\"index\":…,\"x\":…}", "{\"index\":12,\"x\":\"y\"}"),
        ] {
            assert_eq!(mismatch(expected, output), None);
        }
        for (expected, output) in [
            ("a", "b"),
            ("a", "a\nb"),
            ("a\nb", "a"),
            ("a … d", "a b c"),
            ("a … a", "a"),
            ("…\nb", "a\nb\nc"),
            ("", "a"),
        ] {
            assert!(mismatch(expected, output).is_some(), "{expected} {output}");
        }
    }
}
