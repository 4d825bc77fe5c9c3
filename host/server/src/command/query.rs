//! `oarlock query`: sends one query, or with `--watch` again whenever the state has changed.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use oarlock_client::{Client, QueryError, QueryOptions, QueryResponse, ReadConsistency};
use tokio::time::Instant;

use super::connect::{block_on, connect, connect_patiently, refused};
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
    let options = QueryOptions {
        consistency: match args.consistency {
            ConsistencyArg::Linearizable => ReadConsistency::Linearizable,
            ConsistencyArg::Stale => ReadConsistency::Stale,
        },
        timeout: Duration::from_millis(args.client.timeout_ms),
    };
    let json = args.client.output.json;
    if !args.watch {
        let client = connect(&args.client)?;
        let result = client.query(query, &options).await;
        let result = result.map_err(|error| failure(&error))?;
        return print(std::io::stdout().lock(), &result, json);
    }
    let watch = Watch {
        client: connect_patiently(&args.client)?,
        query: query.into(),
        options,
        pause: Duration::from_millis(args.interval_ms),
    };
    watch.run(args.count, json).await
}

fn print(to: impl Write, result: &QueryResponse, json: bool) -> Result<(), Failure> {
    output::write_reply(to, "answer", result.index, &result.response, json)
}

/// A query that is sent again when the state may have changed.
struct Watch {
    client: Client,
    query: Bytes,
    options: QueryOptions,
    /// Least time between two queries.
    pause: Duration,
}

impl Watch {
    /// Prints the response whenever it is another one, `count` times. The node holds the query back until it has applied
    /// another entry, so an idle cluster costs one request in a few seconds.
    async fn run(&self, count: Option<u64>, json: bool) -> Result<(), Failure> {
        let (mut shown, mut left): (Option<Bytes>, _) = (None, count);
        let mut index = None;
        loop {
            let begun = Instant::now();
            let (query, options) = (self.query.clone(), &self.options);
            let found = match index {
                None => self.client.query(query, options).await,
                Some(index) => self.client.query_after(query, index, options).await,
            };
            let result = found.map_err(|error| failure(&error))?;
            index = index.max(Some(result.index));
            if shown.as_ref() != Some(&result.response) {
                let mut line = Vec::new();
                print(&mut line, &result, json)?;
                let mut out = std::io::stdout().lock();
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    // The reader has closed the output.
                    return Ok(());
                }
                left = left.map(|left| left - 1);
                shown = Some(result.response);
            }
            if left == Some(0) {
                return Ok(());
            }
            tokio::time::sleep_until(begun + self.pause).await;
        }
    }
}

fn failure(error: &QueryError) -> Failure {
    match error {
        QueryError::Request(cause) => refused(cause, error),
        QueryError::Refused(_) | QueryError::Failed { .. } => Failure::failed(error),
    }
}
