//! `oarlock query`: one question to the guest.

use std::time::Duration;

use oarlock_client::{QueryError, QueryOptions, ReadConsistency};

use super::connect::{block_on, connect, refused};
use super::{input, output};
use crate::cli::{ConsistencyArg, QueryArgs};
use crate::exit::Failure;

/// Asks the guest and prints its answer.
///
/// # Errors
/// There is no answer.
pub(crate) fn query(args: QueryArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: QueryArgs) -> Result<(), Failure> {
    let query = input::read(args.query, args.file.as_deref(), std::io::stdin().lock())?;
    let client = connect(&args.endpoint)?;
    let options = QueryOptions {
        consistency: match args.consistency {
            ConsistencyArg::Linearizable => ReadConsistency::Linearizable,
            ConsistencyArg::Stale => ReadConsistency::Stale,
        },
        timeout: Duration::from_millis(args.endpoint.timeout_ms),
    };
    let answered = client
        .query(query, &options)
        .await
        .map_err(|error| failure(&error))?;
    output::write_reply(
        std::io::stdout().lock(),
        "answer",
        answered.index,
        &answered.response,
        args.json,
    )
}

fn failure(error: &QueryError) -> Failure {
    match error {
        QueryError::Request(cause) => refused(cause, error),
        QueryError::Refused(_) | QueryError::Failed { .. } => Failure::failed(error),
    }
}
