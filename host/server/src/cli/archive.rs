//! Flags of `oarlock archive`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::common::ClientArgs;

/// Flags of `oarlock archive`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock archive week49 --endpoints 127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103      runs until Ctrl-C\n  oarlock archive week49 --once                                                       catches up and ends\n  oarlock verify week49\n  oarlock restore --archive week49 --to-time 2026-11-28T18:00:00Z --data-dir data/new1"
)]
pub(crate) struct ArchiveArgs {
    /// Directory of the archive. A new one begins with a backup; an archive is continued after its last entry.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Begin a new archive with this file of `oarlock backup`, which is copied, instead of a backup that is taken now.
    #[arg(long, value_name = "FILE", env = "OARLOCK_BACKUP")]
    pub(crate) backup: Option<PathBuf>,
    /// End once the archive has everything that was acknowledged before.
    #[arg(long, env = "OARLOCK_ONCE", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) once: bool,
    /// Begin another file after this many bytes of entries.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 64 << 20,
        env = "OARLOCK_SEGMENT_BYTES"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub(crate) segment_bytes: u64,
    /// The cluster. If a node fails, the archive continues with the next one. With --json, one object on each line.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
