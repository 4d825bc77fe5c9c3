//! Runs parsers on hostile input: mutations of valid inputs, from a seed.
//!
//! There is no coverage from a compiler, which stable Rust does not have. Instead, an input whose outcome is new, for example an
//! error that no input had before, becomes a source of further ones. Equal seeds give equal inputs on every machine.

mod corpus;
mod mutate;
mod runner;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use runner::{FuzzFinding, FuzzPlan, FuzzReport, FuzzRunner, quiet_panics};

/// What is run on each input.
pub trait FuzzTarget {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// Valid inputs, and others that are worth to begin with.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// Runs the parser on one input. Returns a text that is the same for inputs with the same outcome; digits in it don't count. A
    /// panic is a finding.
    fn run(&mut self, input: &[u8]) -> String;

    /// An execution that takes longer is a finding.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Digits of an input, for the command line.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of [`to_hex`]. `None` if the text is not one.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .map(|pair| if pair.len() == 2 { byte(pair) } else { None })
        .collect()
}
