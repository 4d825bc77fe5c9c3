//! Creates a client from flags, and maps its errors to exit codes.

use std::future::Future;
use std::time::Duration;

use oarlock_client::{Client, ClientOptions, Endpoint, RequestError};

use crate::cli::ClientArgs;
use crate::exit::Failure;

/// A client of the nodes of `--endpoints`. It fails fast if no node accepts a connection: a user waits at the terminal.
///
/// # Errors
/// An endpoint is not valid.
pub(crate) fn connect(args: &ClientArgs) -> Result<Client, Failure> {
    let endpoints = Endpoint::parse_list(&args.endpoints.join(",")).map_err(Failure::usage)?;
    client_of(endpoints, Duration::from_millis(args.timeout_ms))
}

/// The same for a command that runs on: it waits for nodes that restart, up to the timeout.
///
/// # Errors
/// An endpoint is not valid.
pub(super) fn connect_patiently(args: &ClientArgs) -> Result<Client, Failure> {
    let endpoints = Endpoint::parse_list(&args.endpoints.join(",")).map_err(Failure::usage)?;
    let options = ClientOptions {
        timeout: Duration::from_millis(args.timeout_ms),
        ..ClientOptions::default()
    };
    Client::with_options(endpoints, options).map_err(Failure::usage)
}

/// A client of these nodes that fails fast.
pub(super) fn client_of(endpoints: Vec<Endpoint>, timeout: Duration) -> Result<Client, Failure> {
    let options = ClientOptions {
        fail_fast: true,
        timeout,
        ..ClientOptions::default()
    };
    Client::with_options(endpoints, options).map_err(Failure::usage)
}

/// Runs the future of a command on this thread.
///
/// # Errors
/// The command fails, or the runtime cannot be created.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Failure::failed(format!(
            "cannot create an event queue: {error}; stop other programs or raise the limit of open files (`ulimit -n`)"
        ))),
    }
}

/// The failure of a request, with the exit code of its cause.
pub(crate) fn refused(cause: &RequestError, message: impl std::fmt::Display) -> Failure {
    if cause.is_unavailable() {
        Failure::unreachable(message)
    } else {
        Failure::failed(message)
    }
}
