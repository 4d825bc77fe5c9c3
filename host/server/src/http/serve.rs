//! Client connections: accepts them, limits their number, their idle time and what waits for them, shuts them down.
//!
//! HTTP/1.1 with keep-alive, and HTTP/2 with prior knowledge: the first bytes of a connection select the protocol. A
//! client may close its half of the connection after the request; it still receives the response. Each connection
//! starts on the fast path (see [`express`](super::express)) and moves to hyper with the first request that needs it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tower::Service;

use super::app::App;
use super::client_socket::ClientSocket;
use super::connection_table::{ActiveRequest, CloseReason, ConnectionAccount, TrackedConnection};
use super::event_stream::Streaming;
use super::express;
use super::routes::router;
use super::waiting_body::{SharedBody, WaitingBody};
use super::{authorize, guard, token_stream};
use crate::access::Requester;
use crate::tls::TlsHandle;
use crate::tls::clients::SecuredClient;

/// Read buffer of a connection, in bytes, which also limits the head of a request.
const READ_BYTES: usize = 64 << 10;
/// Most concurrent requests on one HTTP/2 connection.
const MAX_STREAMS: u32 = 1024;
/// Flow-control window of an HTTP/2 connection, and of each of its requests, in bytes.
const WINDOW_BYTES: u32 = 1 << 20;
/// Timeout of the TLS handshake.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest pause between two searches for clients that don't read.
const STALL_CHECK: Duration = Duration::from_secs(1);
/// How long requests in flight at the end of the grace period may take to end with an error.
const LAST_RESPONSES: Duration = Duration::from_secs(1);
/// Pause after `accept` failed, for example because the process has no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The running HTTP server.
pub(crate) struct Server {
    addr: SocketAddr,
    grace: Duration,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<JoinSet<()>>,
    closing_stalled: JoinHandle<()>,
}

impl Server {
    /// Starts to accept connections on a bound socket.
    ///
    /// # Errors
    /// The operating system rejects an operation on the socket.
    pub(crate) fn start(listener: std::net::TcpListener, app: Arc<App>) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let grace = app.http.shutdown_grace;
        let (stop, stopping) = watch::channel(false);
        let closing_stalled = tokio::spawn(close_stalled(Arc::clone(&app)));
        let accepting = tokio::spawn(accept(listener, app, stopping));
        Ok(Self {
            addr,
            grace,
            stop,
            accepting,
            closing_stalled,
        })
    }

    /// The address on which the server listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting connections, waits up to `HttpSettings::shutdown_grace` for requests in flight, lets `end_requests` end the others
    /// with an error, and closes all connections.
    pub(crate) async fn stop(self, end_requests: impl Future<Output = ()>) {
        // An error means that the server task has already ended.
        let _ = self.stop.send(true);
        let closing_stalled = self.closing_stalled;
        let Ok(mut connections) = self.accepting.await else {
            return closing_stalled.abort();
        };
        // Clients that don't read are still closed meanwhile.
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace, all_ended).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "shutdown grace period is over: requests in flight end with an error"
            );
            end_requests.await;
            let all_ended = async { while connections.join_next().await.is_some() {} };
            // Streams and clients that do not read are cut off.
            let _ = tokio::time::timeout(LAST_RESPONSES, all_ended).await;
        }
        connections.shutdown().await;
        closing_stalled.abort();
    }
}

/// Accepts connections until the server stops, and a moment longer, because clients may have connected before they could know. Then
/// returns those that are still open.
async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
) -> JoinSet<()> {
    let routes = router(Arc::clone(&app));
    let builder = builder(app.http.idle_timeout);
    let mut connections = JoinSet::new();
    let given = stopping.clone();
    let linger = app.http.shutdown_linger;
    let ending = async {
        let _ = stopping.wait_for(|stop| *stop).await;
        tokio::time::sleep(linger).await;
    };
    tokio::pin!(ending);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut ending => return connections,
        };
        let (stream, remote) = match accepted {
            Ok((stream, remote)) => (stream, remote.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client connection, retrying");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Connections that have ended must not count.
        while connections.try_join_next().is_some() {}
        let is_full = connections.len() >= app.http.max_connections as usize;
        if is_full && !app.connections.make_place(remote) {
            app.metrics.rejected_connections.inc();
            drop(stream);
            continue;
        }
        let connection = ClientConnection {
            app: Arc::clone(&app),
            routes: routes.clone(),
            builder: builder.clone(),
            open: app.connections.open(remote),
            stopping: given.clone(),
        };
        connections.spawn(connection.serve(stream));
    }
}

/// Closes connections whose clients don't read, and logs how many were closed.
async fn close_stalled(app: Arc<App>) {
    let pause = (app.http.waiting.stall_timeout / 4).clamp(Duration::from_millis(1), STALL_CHECK);
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut logged = [0; CloseReason::ALL.len()];
    loop {
        ticks.tick().await;
        app.connections.close_stalled();
        let closed = CloseReason::ALL.map(|reason| app.connections.closed(reason));
        for (reason, (closed, logged)) in CloseReason::ALL
            .into_iter()
            .zip(closed.into_iter().zip(&mut logged))
        {
            let connections = closed - std::mem::replace(logged, closed);
            if connections > 0 {
                tracing::warn!(
                    connections,
                    reason = reason.name(),
                    "client connections closed"
                );
            }
        }
    }
}

fn builder(idle_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // So that hyper keeps each chunk of a body, and its share, until the chunk is written.
        .writev(true)
        .half_close(true)
        // Measured from the end of the previous request, so it also closes idle connections.
        .header_read_timeout(idle_timeout)
        .max_buf_size(READ_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(idle_timeout / 2);
    builder
}

struct ClientConnection {
    app: Arc<App>,
    routes: Router,
    builder: auto::Builder<TokioExecutor>,
    open: TrackedConnection,
    stopping: watch::Receiver<bool>,
}

impl ClientConnection {
    /// Serves the connection until it ends, or the node closes it.
    async fn serve(self, stream: TcpStream) {
        let _open = self.app.metrics.connection();
        let account = Arc::clone(self.open.account());
        tokio::select! {
            () = self.serve_socket(stream) => {}
            () = account.closed() => {}
        }
    }

    /// Secures the connection if the node uses TLS, and serves it.
    async fn serve_socket(self, stream: TcpStream) {
        let local = stream
            .local_addr()
            .ok()
            .map(|addr| addr.ip().to_canonical());
        let stream = ClientSocket::new(stream, self.open.account());
        let Some(tls) = self.app.tls.clone() else {
            return self.serve_on(stream, local, Requester::Anyone).await;
        };
        // Boxed, so that connections without TLS need no memory for it.
        Box::pin(self.serve_secured(tls, stream, local)).await;
    }

    async fn serve_secured(self, tls: TlsHandle, stream: ClientSocket, local: Option<IpAddr>) {
        match tokio::time::timeout(TLS_HANDSHAKE, tls.accept_client(stream)).await {
            Ok(Ok(client)) => {
                let SecuredClient {
                    stream,
                    caller,
                    distrusted,
                } = client;
                tokio::select! {
                    () = self.serve_on(stream, local, caller) => {}
                    () = distrusted => {
                        tracing::info!("client connection closed: its certificate is no longer trusted");
                    }
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "client connection could not be secured");
            }
            Err(_) => tracing::debug!("client connection closed: no TLS handshake in time"),
        }
    }

    async fn serve_on<S>(self, stream: S, local: Option<IpAddr>, caller: Requester)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self {
            app,
            routes,
            builder,
            open,
            mut stopping,
        } = self;
        let account = open.account();
        let express = express::run(&app, stream, local, &caller, account, stopping.clone());
        let Some(stream) = express.await else {
            return;
        };
        let service = service_fn(|request| {
            let active = account.begin_request();
            let from = RequestSource {
                local,
                caller: caller.clone(),
                account: Arc::clone(account),
            };
            respond(Arc::clone(&app), routes.clone(), request, from, active)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let linger = app.http.shutdown_linger;
        let stop = async {
            // An error means that the server has been dropped, which is a stop too.
            let _ = stopping.wait_for(|stop| *stop).await;
            tokio::time::sleep(linger).await;
        };
        tokio::pin!(stop);
        let mut ending = false;
        let mut seen = u64::MAX;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "client connection failed");
                    }
                    return;
                }
                () = &mut stop, if !ending => {
                    ending = true;
                    end(connection.as_mut());
                }
                () = tokio::time::sleep(app.http.idle_timeout) => {
                    let begun = account.begun();
                    let idle = account.is_idle() && begun == seen;
                    seen = begun;
                    if idle && ending {
                        return;
                    }
                    if idle {
                        ending = true;
                        end(connection.as_mut());
                    }
                }
            }
        }
    }
}

/// Closes a connection once the responses to its requests in flight are sent.
fn end<I, S, E, B>(connection: Pin<&mut auto::Connection<'_, I, S, E>>)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: auto::HttpServerConnExec<S::Future, B>,
{
    connection.graceful_shutdown();
}

/// Where a request comes from.
struct RequestSource {
    /// The address to which the client has connected.
    local: Option<IpAddr>,
    /// Who sends it.
    caller: Requester,
    account: Arc<ConnectionAccount>,
}

/// Handles one request and records it in the metrics.
async fn respond(
    app: Arc<App>,
    mut routes: Router,
    request: Request<Incoming>,
    from: RequestSource,
    active: ActiveRequest,
) -> Result<Response<Body>, Infallible> {
    let RequestSource {
        local,
        caller,
        account,
    } = from;
    // A client that does not read its replies gets no further ones.
    account.room().await;
    let begun = Instant::now();
    let route = app.metrics.http.route(request.uri().path());
    let (mut parts, body) = request.into_parts();
    let checked = guard::check(&app, &parts, local)
        .and_then(|()| authorize::identify(&app, &parts.headers, caller))
        .and_then(|caller| {
            authorize::check_known(&caller, parts.uri.path())?;
            Ok(caller)
        });
    let token = token_stream::token(&app, &parts.headers);
    let mut response = match checked {
        Ok(caller) => {
            parts.extensions.insert(caller);
            parts.extensions.insert(Arc::clone(&account));
            let request = Request::from_parts(parts, Body::new(body));
            routes.call(request).await?
        }
        Err(refusal) => refusal.into_response(),
    };
    app.metrics
        .http
        .completed(route, response.status(), begun.elapsed());
    if response.extensions_mut().remove::<Streaming>().is_some() {
        // The request counts as active until the body ends, so that the connection is not closed as idle.
        response = response.map(|body| {
            let body = token_stream::limited(&app, token, body);
            Body::new(body.map_frame(move |frame| {
                let _active = &active;
                frame
            }))
        });
    } else {
        let is_shared = response.extensions_mut().remove::<SharedBody>().is_some();
        response =
            response.map(|body| Body::new(WaitingBody::new(body, &account, active, is_shared)));
    }
    Ok(response)
}
