//! Sizes of files as pages print them.

use std::path::Path;

/// The size of a file in KB, or in MB from one on, rounded: `40 KB`, `18 MB`.
///
/// # Panics
/// If there is no such file.
pub fn rounded_size(file: &Path) -> String {
    let found = std::fs::metadata(file);
    let bytes = found
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        .len();
    rounded(bytes)
}

fn rounded(bytes: u64) -> String {
    match bytes {
        ..999_500 => format!("{} KB", (bytes + 500) / 1_000),
        _ => format!("{} MB", (bytes + 500_000) / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn a_size_is_rounded() {
        for (bytes, expected) in [
            (0, "0 KB"),
            (39_499, "39 KB"),
            (39_500, "40 KB"),
            (999_499, "999 KB"),
            (999_500, "1 MB"),
            (18_400_000, "18 MB"),
        ] {
            assert_eq!(rounded(bytes), expected);
        }
    }
}
