//! Flags of `oarlock new`.

use std::path::PathBuf;

use clap::Args;

use super::common::OutputArgs;

/// Flags of `oarlock new`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  oarlock new seats\n  cd seats && cargo test")]
pub(crate) struct NewArgs {
    /// Name of the guest and of its directory: up to 64 characters a-z, 0-9 and -, the first a letter.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Parent directory of the new directory.
    #[arg(long, value_name = "DIR", default_value = ".", env = "OARLOCK_DIR")]
    pub(crate) dir: PathBuf,
    /// Directory of the guest SDK. Default: guest-sdk in the source tree of this program, or else the published crate.
    #[arg(long, value_name = "DIR", env = "OARLOCK_SDK")]
    pub(crate) sdk: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[cfg(test)]
impl NewArgs {
    /// As for `oarlock new NAME --dir DIR --sdk DIR --json`.
    pub(crate) fn of(name: &str, dir: &std::path::Path, sdk: Option<&std::path::Path>) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            sdk: sdk.map(std::path::Path::to_owned),
            output: OutputArgs {
                json: true,
                ..OutputArgs::default()
            },
        }
    }
}
