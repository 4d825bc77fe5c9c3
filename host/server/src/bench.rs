//! `oarlock bench`: throughput and latency of a running cluster.
//!
//! The loop is closed: each connection sends its next request when it has received the response to the last one. Latency is
//! that of the whole request, from before it is sent until its response has been read. Responses within the measured
//! time count, after one second of warming up; refusals and errors are counted separately.

pub(crate) mod disk;
mod load;
mod report;
mod template;

use std::time::Duration;

use oarlock_client::{Client, NodeInfo};

use crate::cli::BenchArgs;
use crate::command::{client_tls, client_token, connect, refused, write_out};
use crate::exit::Failure;
use load::LoadPlan;
use report::Report;
use template::Template;

/// Threads that send, at most: nodes on the same machine need the others.
const MAX_THREADS: usize = 4;

/// Measures and prints the result.
///
/// # Errors
/// No node responds, no command fits the guest, or not one request was carried out.
pub(crate) fn bench(args: BenchArgs) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.div_ceil(4).min(MAX_THREADS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::failed(format!(
            "the system gives no threads: {error}; close other programs or raise its limits"
        ))
    })?;
    runtime.block_on(run(args))
}

async fn run(args: BenchArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    // Before the load, which would slow it down.
    let disk = args.disk.as_deref().map(disk::probe).transpose()?;
    let status = client
        .status()
        .await
        .map_err(|error| refused(&error, &error))?;
    let plan = plan(&args, &client, &status)?;
    let tally = load::run(&plan, args.client.output.json).await;
    let report = Report::new(&plan, &status, tally, disk);
    let text = if args.client.output.json {
        report.as_json()
    } else {
        report.as_text()
    };
    write_out(std::io::stdout().lock(), text.as_bytes())?;
    report.verdict()
}

fn plan(args: &BenchArgs, client: &Client, status: &NodeInfo) -> Result<LoadPlan, Failure> {
    let size = usize::try_from(args.size).map_err(Failure::usage)?;
    let text = match &args.command {
        Some(text) => text.as_str(),
        None => template::default_for(&status.state_machine.name, args.query)
            .ok_or_else(|| no_template(status, args.query))?,
    };
    Ok(LoadPlan {
        endpoints: client.endpoints().to_vec(),
        clients: args.clients,
        duration: Duration::from_secs(args.duration),
        timeout: Duration::from_millis(args.client.timeout_ms),
        tls: client_tls(&args.client)?,
        token: client_token(&args.client)?,
        query: args.query,
        size,
        template: Template::parse(text, size),
    })
}

fn no_template(status: &NodeInfo, query: bool) -> Failure {
    let what = if query { "query" } else { "command" };
    Failure::usage(format!(
        "there is no default {what} for the state machine {:?}; give one with --command, such as \
         '{{\"put\":{{\"key\":\"k{{seq}}\",\"value\":\"{{payload}}\"}}}}'",
        status.state_machine.name
    ))
}

#[cfg(test)]
mod tests;
