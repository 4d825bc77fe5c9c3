//! Creates a client from flags, and maps its errors to exit codes.

use std::future::Future;
use std::time::Duration;

use oarlock_client::{AccessToken, Client, ClientOptions, Endpoint, RequestError, TlsOptions};

use crate::cli::ClientArgs;
use crate::exit::Failure;

/// A client of the nodes of `--endpoints`. It fails fast if no node accepts a connection: a user waits at the terminal.
///
/// # Errors
/// An endpoint is not valid.
pub(crate) fn connect(args: &ClientArgs) -> Result<Client, Failure> {
    let endpoints = Endpoint::parse_list(&args.endpoints.join(",")).map_err(Failure::usage)?;
    client_of(
        endpoints,
        Duration::from_millis(args.timeout_ms),
        tls(args)?,
        token(args)?,
    )
}

/// TLS to the nodes, if the flags ask for it.
///
/// # Errors
/// A file is missing or not valid.
pub(crate) fn tls(args: &ClientArgs) -> Result<Option<TlsOptions>, Failure> {
    let read = match (&args.certs_dir, &args.ca) {
        (Some(dir), _) => TlsOptions::from_dir(dir).map(Some),
        (None, Some(file)) => TlsOptions::from_ca(file).map(Some),
        (None, None) => Ok(None),
    };
    read.map_err(Failure::usage)
}

/// The token to send, if the flags name one.
///
/// # Errors
/// Its file can't be read, or it would be sent without encryption.
pub(crate) fn token(args: &ClientArgs) -> Result<Option<AccessToken>, Failure> {
    let Some(file) = &args.token_file else {
        return Ok(None);
    };
    if args.ca.is_none() {
        return Err(Failure::usage(
            "--token-file needs --ca: a token is sent to nodes with TLS only; set --ca to the file ca.crt of the cluster",
        ));
    }
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!(
            "cannot read the token in {}: {error}; create one with `oarlock token create`",
            file.display()
        ))
    })?;
    AccessToken::new(&text)
        .map(Some)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// The same for a command that runs on: it waits for nodes that restart, up to the timeout.
///
/// # Errors
/// An endpoint is not valid.
pub(super) fn connect_patiently(args: &ClientArgs) -> Result<Client, Failure> {
    let endpoints = Endpoint::parse_list(&args.endpoints.join(",")).map_err(Failure::usage)?;
    let options = ClientOptions {
        timeout: Duration::from_millis(args.timeout_ms),
        tls: tls(args)?,
        token: token(args)?,
        ..ClientOptions::default()
    };
    Client::with_options(endpoints, options).map_err(Failure::usage)
}

/// A client of these nodes that fails fast.
pub(super) fn client_of(
    endpoints: Vec<Endpoint>,
    timeout: Duration,
    tls: Option<TlsOptions>,
    token: Option<AccessToken>,
) -> Result<Client, Failure> {
    let options = ClientOptions {
        fail_fast: true,
        timeout,
        tls,
        token,
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
