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
/// No node responds, or no node knows a leader.
pub(crate) fn status(args: StatusArgs) -> Result<(), Failure> {
    block_on(run(args))
}

/// The error where nodes respond and none knows a leader.
const NO_LEADER: &str = "the cluster has no leader, so it accepts no commands; a majority of the voters must run and reach each \
                         other, and at the first start all initial members must";

async fn run(args: StatusArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let cluster = gather(&client).await;
    if args.client.output.json {
        write_json(std::io::stdout().lock(), &show::as_json(&cluster))?;
    } else if cluster.any_responded() {
        print_coloured(&as_text(&cluster))?;
    }
    if !cluster.any_responded() {
        return Err(Failure::unreachable(format!(
            "no node responds:\n{}check that the nodes are running and that these are their client addresses",
            show::unreachable(&cluster)
        )));
    }
    if cluster.leader_id().is_none() {
        return Err(Failure::unreachable(NO_LEADER));
    }
    Ok(())
}

pub(crate) use gather::gather;
pub(crate) use show::as_text;

#[cfg(test)]
mod tests;
