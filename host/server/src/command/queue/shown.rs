//! Numbers and texts as cells of a table.

use crate::command::output::print_safely;
use crate::command::table::Tone;

/// A cell without a colour.
pub(super) fn plain(text: impl std::fmt::Display) -> (String, Tone) {
    (print_safely(&text.to_string()).into_owned(), Tone::Plain)
}

/// A number that needs attention unless it is 0.
pub(super) fn attention(number: u64) -> (String, Tone) {
    let tone = if number == 0 {
        Tone::Plain
    } else {
        Tone::Attention
    };
    (number.to_string(), tone)
}

/// A time in its largest unit: `850ms`, `12s`, `3m`, `5h`, `2d`.
pub(super) fn time(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (24 * 60 * 60 * 1000, "d"),
        (60 * 60 * 1000, "h"),
        (60 * 1000, "m"),
        (1000, "s"),
    ];
    match UNITS.iter().find(|(unit, _)| ms >= *unit) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_time_has_its_largest_unit() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (12_500, "12s"),
            (60_000, "1m"),
            (7_200_000, "2h"),
            (86_400_000 * 40, "40d"),
        ] {
            assert_eq!(super::time(ms), text);
        }
    }
}
