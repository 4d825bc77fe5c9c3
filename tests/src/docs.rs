//! Runs the commands that a page of the documentation shows, and compares what they print with what the page says.
//!
//! To document a command, write it into a fenced block of `sh` in a page that `tests/long/docs.rs` runs. Nothing else is needed:
//!
//! - `COMMAND   # → OUTPUT` expects this output: all of standard output and standard error. `…` stands for any text, and spaces
//!   count as one. It may be in the line after the command. A command that fails ends with its exit code: `# → error: … (exit code 1)`.
//! - A block of `text` right after the block is everything that the block prints. A line `…` stands for any number of lines.
//! - `COMMAND   # words` is a remark for the reader. The command must succeed.
//! - `oarlock serve` and `oarlock demo` run in the background, as in another terminal, until the end of the page or until another
//!   node takes their address. What follows waits until they are ready. So does `curl -N`.
//! - `# stop the node at 127.0.0.1:810N` stops the node with this address for clients.
//! - Addresses `127.0.0.1:710N` and `127.0.0.1:810N` become free ones. Without an address, commands use the first node.
//! - Each block begins in the page's folder, which looks like the root of this repository. Exported variables stay.
//! - After `sh` come attributes, which a reader does not see: `for=ID:1,2,3` runs the block once with each value, `dir=../seats`
//!   begins there. Commands that need a network, an operator or long builds are in [`NotRun`], each with its reason and the test
//!   that runs the equivalent.
//! - A block of any language with `file=PATH` is a file, which is written.
//!
//! A block with `oarlock …`, `curl …` or `cargo run …` in a page that no test of `tests/long` follows fails `--test tidy`.

mod compare;
mod not_run;
mod page;
mod session;
mod size;

pub use compare::mismatch;
pub use not_run::NotRun;
pub use page::{Block, blocks};
pub use session::Session;
pub use size::rounded_size;
