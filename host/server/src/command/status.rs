//! `oarlock status`: a table of all nodes of a cluster.

mod gather;
mod show;

use super::connect::{block_on, connect};
use super::output::{print_coloured, write_json};
use crate::cli::StatusArgs;
use crate::exit::Failure;

/// Requests the status of every node in `--endpoints` and of every member that they report, and prints a table.
///
/// # Errors
/// No node responds.
pub(crate) fn status(args: StatusArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: StatusArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let cluster = gather(&client).await;
    if args.client.output.json {
        write_json(std::io::stdout().lock(), &show::as_json(&cluster))?;
    } else if cluster.any_responded() {
        print_coloured(&as_text(&cluster))?;
    }
    if cluster.any_responded() {
        return Ok(());
    }
    Err(Failure::unreachable(format!(
        "no node responds:\n{}check that the nodes are running and that these are their client addresses",
        show::unreachable(&cluster)
    )))
}

pub(crate) use gather::gather;
pub(crate) use show::as_text;

#[cfg(test)]
mod tests;
