//! `oarlock snapshot`: takes a snapshot on each node of `--endpoints`.

use oarlock_client::{Client, Endpoint, RequestError};
use serde_json::{Value, json};

use super::connect::{block_on, connect, refused};
use super::output::{print_safely, write_json, write_out};
use crate::cli::SnapshotArgs;
use crate::exit::Failure;

/// Takes a snapshot on each node of `--endpoints`, one after the other, and prints the indexes.
///
/// # Errors
/// A node did not take a snapshot. Nodes that did are printed before.
pub(crate) fn snapshot(args: SnapshotArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: SnapshotArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let taken = take(&client).await;
    let (done, failed): (Vec<_>, Vec<_>) = taken.into_iter().partition(|(_, taken)| taken.is_ok());
    let done: Vec<_> = done
        .into_iter()
        .filter_map(|(endpoint, taken)| Some((endpoint, taken.ok()?)))
        .collect();
    if args.client.output.json {
        write_json(std::io::stdout().lock(), &as_json(&done))?;
    } else {
        write_out(std::io::stdout().lock(), lines(&done).as_bytes())?;
    }
    let mut failures = failed
        .into_iter()
        .filter_map(|(endpoint, taken)| Some((endpoint, taken.err()?)));
    match failures.next() {
        None => Ok(()),
        Some((endpoint, error)) => {
            let more = match failures.count() {
                0 => String::new(),
                more => format!(" ({more} more nodes failed)"),
            };
            Err(refused(
                &error,
                format!("no snapshot on {endpoint}: {error}{more}"),
            ))
        }
    }
}

async fn take(client: &Client) -> Vec<(Endpoint, Result<Value, RequestError>)> {
    let mut taken = Vec::new();
    for endpoint in client.endpoints() {
        let result = client.snapshot(endpoint).await.map(|body| {
            // A body that is not JSON is shown as text.
            serde_json::from_slice(&body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into())
        });
        taken.push((endpoint.clone(), result));
    }
    taken
}

fn as_json(done: &[(Endpoint, Value)]) -> Value {
    let nodes: Vec<_> = done
        .iter()
        .map(|(endpoint, snapshot)| json!({"endpoint": endpoint.as_str(), "snapshot": snapshot}))
        .collect();
    json!({ "nodes": nodes })
}

fn lines(done: &[(Endpoint, Value)]) -> String {
    let line = |(endpoint, snapshot): &(Endpoint, Value)| match snapshot
        .get("snapshot_index")
        .and_then(Value::as_u64)
    {
        Some(index) => format!("{endpoint}: snapshot up to entry {index}\n"),
        None => format!("{endpoint}: {}\n", print_safely(&snapshot.to_string())),
    };
    done.iter().map(line).collect()
}
