//! `oarlock status`: every node of a cluster in one table.

mod gather;
mod show;

use super::connect::{block_on, connect};
use super::output::{print_coloured, write_json};
use crate::cli::StatusArgs;
use crate::exit::Failure;

/// Asks every node that the endpoints or their answers name, and prints a line for each.
///
/// # Errors
/// No node answers.
pub(crate) fn status(args: StatusArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: StatusArgs) -> Result<(), Failure> {
    let client = connect(&args.endpoint)?;
    let cluster = gather(&client).await;
    if args.json {
        write_json(std::io::stdout().lock(), &show::as_json(&cluster))?;
    } else if cluster.anyone_answered() {
        print_coloured(&as_text(&cluster))?;
    }
    if cluster.anyone_answered() {
        return Ok(());
    }
    Err(Failure::unreachable(format!(
        "no node answers:\n{}are the nodes running, and are these their client addresses?",
        show::silent(&cluster)
    )))
}

pub(crate) use gather::gather;
pub(crate) use show::as_text;

#[cfg(test)]
mod tests;
