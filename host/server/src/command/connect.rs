//! From flags to a client, and from its errors to exit codes.

use std::future::Future;
use std::time::Duration;

use oarlock_client::{Client, ClientOptions, Endpoint, RequestError};

use crate::cli::EndpointArgs;
use crate::exit::Failure;

/// A client of the nodes that the flags name. Somebody waits at the terminal: it gives up where nobody listens.
///
/// # Errors
/// The endpoints can't be read.
pub(crate) fn connect(args: &EndpointArgs) -> Result<Client, Failure> {
    let endpoints = Endpoint::parse_list(&args.endpoints.join(",")).map_err(Failure::usage)?;
    client_of(endpoints, Duration::from_millis(args.timeout_ms))
}

/// A client of these nodes that gives up where nobody listens.
pub(super) fn client_of(endpoints: Vec<Endpoint>, timeout: Duration) -> Result<Client, Failure> {
    let options = ClientOptions {
        fail_fast: true,
        timeout,
        ..ClientOptions::default()
    };
    Client::with_options(endpoints, options).map_err(Failure::usage)
}

/// Runs what a command does, on this thread.
///
/// # Errors
/// That of the command; or the system gives no event queue.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => Err(Failure::failed(format!(
            "the system gives no event queue: {error}; close other programs or raise its limits"
        ))),
    }
}

/// The failure of a request, with the exit code that its cause has.
pub(crate) fn refused(cause: &RequestError, words: impl std::fmt::Display) -> Failure {
    if cause.is_unavailable() {
        Failure::unreachable(words)
    } else {
        Failure::failed(words)
    }
}
