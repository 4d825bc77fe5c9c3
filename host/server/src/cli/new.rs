//! Flags of `oarlock new`.

use std::path::PathBuf;

use clap::builder::{FalseyValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use oarlock_project::Language;

use super::common::OutputArgs;

/// Flags of `oarlock new`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock new seats\n  cd seats && oarlock build && oarlock test\n  oarlock new bookings --lang python\n  oarlock new my-queue --queue"
)]
pub(crate) struct NewArgs {
    /// Name of the guest and of its directory: up to 64 characters a-z, 0-9 and -, the first a letter.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Language of the guest.
    #[arg(
        long,
        value_name = "LANGUAGE",
        default_value = "rust",
        env = "OARLOCK_LANG"
    )]
    #[arg(value_parser = language())]
    pub(crate) lang: Language,
    /// Create a task queue with rules of its own: what happens when a task is added, fails, and is done. In Rust.
    #[arg(long, action = ArgAction::SetTrue, env = "OARLOCK_NEW_QUEUE")]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) queue: bool,
    /// Parent directory of the new directory.
    #[arg(long, value_name = "DIR", default_value = ".", env = "OARLOCK_DIR")]
    pub(crate) dir: PathBuf,
    /// Directory of the SDK for Rust. Default: guest-sdk in the source tree of this program, or else a copy in the
    /// project, in the directory vendor.
    #[arg(long, value_name = "DIR", env = "OARLOCK_SDK")]
    pub(crate) sdk: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A language that users ask for and that has no template: decision record 0044.
const GO: &str = "go";
const NO_GO: &str = "there is no template for Go: its compiler for such modules, TinyGo, is in no package registry; use rust, python, \
                     javascript or c, or build a component for wit/ yourself and run it with `oarlock serve --state-machine FILE`";

fn language() -> impl TypedValueParser<Value = Language> {
    let names = Language::ALL.map(|language| PossibleValue::new(language.name()));
    let names = names.into_iter().chain([PossibleValue::new(GO).hide(true)]);
    let names = PossibleValuesParser::new(names.collect::<Vec<_>>());
    names.try_map(|name| Language::of_name(&name).ok_or(NO_GO))
}
