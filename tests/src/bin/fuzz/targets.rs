//! The parsers, each with its valid inputs.

mod module;
mod peer;
mod records;
mod server;
mod snapshot;

use oarlock_tests::fuzz::FuzzTarget;

/// The names on the command line.
pub(super) const NAMES: [&str; 8] = [
    "frame", "hello", "envelope", "record", "snapshot", "module", "http", "token",
];

/// The targets of a name: itself, or all.
pub(super) fn names(name: &str) -> Vec<&'static str> {
    let is_wanted = |known: &&str| name == "all" || name == *known;
    NAMES.into_iter().filter(is_wanted).collect()
}

/// A target of [`NAMES`].
pub(super) fn target(name: &str) -> Box<dyn FuzzTarget> {
    match name {
        "frame" => Box::new(peer::Frame),
        "hello" => Box::new(peer::HelloFrame),
        "envelope" => Box::new(records::EnvelopeBytes),
        "record" => Box::new(records::LogRecord),
        "snapshot" => Box::new(snapshot::Snapshot::new()),
        "module" => Box::new(module::Module::new()),
        "http" => Box::new(server::Http),
        _ => Box::new(server::Token::new()),
    }
}

/// How much memory the process of a target may use, in KiB. Guests have large stacks and memories.
pub(super) fn memory_kib(name: &str) -> u64 {
    match name {
        "snapshot" | "module" => 3 << 20,
        _ => 256 << 10,
    }
}

/// Input whose last four bytes are a checksum: half of the mutations get the right one, so that they reach what is behind it.
fn with_checksum(input: &[u8], checksum: impl Fn(&[u8]) -> u32) -> Vec<u8> {
    let mut bytes = input.to_vec();
    // Not random, so that the same input has the same outcome.
    let is_kept = input.iter().fold(0_u8, |sum, byte| sum ^ byte) & 1 == 0;
    if !is_kept && let Some((content, last)) = bytes.split_last_chunk_mut::<4>() {
        *last = checksum(content).to_be_bytes();
    }
    bytes
}
