//! `oarlock query`: sends one query.

use std::time::Duration;

use oarlock_client::{QueryError, QueryOptions, ReadConsistency};

use super::connect::{block_on, connect, refused};
use super::{input, output};
use crate::cli::{ConsistencyArg, QueryArgs};
use crate::exit::Failure;

/// Sends a query and prints the guest's response.
///
/// # Errors
/// The guest rejected the query or failed, or no node returned a result.
pub(crate) fn query(args: QueryArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: QueryArgs) -> Result<(), Failure> {
    let query = input::read(args.query, args.file.as_deref(), std::io::stdin().lock())?;
    let client = connect(&args.client)?;
    let options = QueryOptions {
        consistency: match args.consistency {
            ConsistencyArg::Linearizable => ReadConsistency::Linearizable,
            ConsistencyArg::Stale => ReadConsistency::Stale,
        },
        timeout: Duration::from_millis(args.client.timeout_ms),
    };
    let result = client
        .query(query, &options)
        .await
        .map_err(|error| failure(&error))?;
    output::write_reply(
        std::io::stdout().lock(),
        "answer",
        result.index,
        &result.response,
        args.client.output.json,
    )
}

fn failure(error: &QueryError) -> Failure {
    match error {
        QueryError::Request(cause) => refused(cause, error),
        QueryError::Refused(_) | QueryError::Failed { .. } => Failure::failed(error),
    }
}
