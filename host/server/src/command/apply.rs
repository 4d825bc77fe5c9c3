//! `oarlock apply`: applies one command.

use std::time::Duration;

use oarlock_client::{ApplyError, ApplyOptions, Key};

use super::connect::{block_on, connect, refused};
use super::{input, output};
use crate::cli::ApplyArgs;
use crate::exit::Failure;

/// Applies a command and prints the guest's reply.
///
/// # Errors
/// The command was not applied, or the outcome is unknown.
pub(crate) fn apply(args: ApplyArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: ApplyArgs) -> Result<(), Failure> {
    let command = input::read(args.command, args.file.as_deref(), std::io::stdin().lock())?;
    let client = connect(&args.client)?;
    let options = ApplyOptions {
        idempotency_key: args.idempotency_key.map_or(Key::Automatic, Key::Given),
        timeout: Duration::from_millis(args.client.timeout_ms),
    };
    let applied = client
        .apply(command, &options)
        .await
        .map_err(|error| failure(&error))?;
    output::write_reply(
        std::io::stdout().lock(),
        "reply",
        applied.index,
        &applied.reply,
        args.client.output.json,
    )
}

fn failure(error: &ApplyError) -> Failure {
    match error {
        ApplyError::Key(_) => Failure::usage(error),
        ApplyError::NotApplied(cause) | ApplyError::OutcomeUnknown { cause, .. } => {
            refused(cause, error)
        }
        ApplyError::Refused(_) | ApplyError::Failed { .. } | ApplyError::KeyReused { .. } => {
            Failure::failed(error)
        }
    }
}
