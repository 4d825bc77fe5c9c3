//! Flags of `oarlock new`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::CommonArgs;

/// Flags of `oarlock new`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock new seats\n  cd seats && cargo test")]
pub(crate) struct NewArgs {
    /// Name of the guest and of its folder: a-z, 0-9 and -.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Where the folder is made.
    #[arg(long, value_name = "DIR", default_value = ".", env = "OARLOCK_DIR")]
    pub(crate) dir: PathBuf,
    /// The folder of the guest SDK. Default: that beside this program's own sources, else the published one.
    #[arg(long, value_name = "DIR", env = "OARLOCK_SDK")]
    pub(crate) sdk: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[cfg(test)]
impl NewArgs {
    /// As for `oarlock new NAME --dir DIR --sdk DIR --json`.
    pub(crate) fn of(name: &str, dir: &std::path::Path, sdk: Option<&std::path::Path>) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            sdk: sdk.map(std::path::Path::to_owned),
            json: true,
            common: CommonArgs { config: None },
        }
    }
}
