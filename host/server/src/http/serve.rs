//! Connections of clients: accepted, bounded in number and in time, ended in order.
//!
//! HTTP/1.1 with keep-alive, and HTTP/2 by prior knowledge: the first bytes of a connection tell which. A client that
//! closes its half after the request gets its answer all the same. A connection begins on the short way (see
//! [`express`](super::express)) and goes on with hyper once something else comes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tower::Service;

use super::{App, express, router};

/// Bytes of a connection that are read ahead, and the longest head of a request.
const READ_BYTES: usize = 64 << 10;
/// Requests at a time on one connection of HTTP/2.
const MAX_STREAMS: u32 = 1024;
/// Bytes that may be on their way on one connection of HTTP/2, and in one of its requests.
const WINDOW_BYTES: u32 = 1 << 20;
/// Pause after the operating system gave no connection: it has no more descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What serves clients.
pub(crate) struct Server {
    addr: SocketAddr,
    grace: Duration,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<JoinSet<()>>,
}

impl Server {
    /// Accepts connections on a bound socket.
    ///
    /// # Errors
    /// The socket can't be used.
    pub(crate) fn start(listener: std::net::TcpListener, app: Arc<App>) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let grace = app.http.shutdown_grace;
        let (stop, stopping) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, app, stopping));
        Ok(Self {
            addr,
            grace,
            stop,
            accepting,
        })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, lets requests under way finish within the grace period, and ends all connections.
    pub(crate) async fn stop(self) {
        // Without receivers there is nothing to stop.
        let _ = self.stop.send(true);
        let Ok(mut connections) = self.accepting.await else {
            return;
        };
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace, all_ended).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "clients cut off: they did not finish in time"
            );
        }
        connections.shutdown().await;
    }
}

/// Accepts until told to stop, then hands over the connections that are left.
async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
) -> JoinSet<()> {
    let routes = router(Arc::clone(&app));
    let builder = builder(app.http.idle_timeout);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return connections,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Those that have ended since the last one came don't count.
        while connections.try_join_next().is_some() {}
        if connections.len() >= app.http.max_connections as usize {
            app.metrics.rejected_connections.inc();
            drop(stream);
            continue;
        }
        let connection = Connection {
            app: Arc::clone(&app),
            routes: routes.clone(),
            builder: builder.clone(),
            activity: Arc::default(),
            stopping: stopping.clone(),
        };
        connections.spawn(connection.serve(stream));
    }
}

fn builder(idle_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .half_close(true)
        // It counts from the end of the request before, so it ends idle connections too.
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

/// What a connection is busy with.
#[derive(Debug, Default)]
struct Activity {
    under_way: AtomicU64,
    begun: AtomicU64,
}

/// A request that is under way, until dropped.
struct UnderWay(Arc<Activity>);

impl UnderWay {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.under_way.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Connection {
    app: Arc<App>,
    routes: Router,
    builder: auto::Builder<TokioExecutor>,
    activity: Arc<Activity>,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        // An answer is one small packet: it goes out at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection without TCP_NODELAY");
        }
        let Self {
            app,
            routes,
            builder,
            activity,
            mut stopping,
        } = self;
        let _open = app.metrics.connection();
        let Some(stream) = express::run(&app, stream, stopping.clone()).await else {
            return;
        };
        let service = service_fn(|request| {
            let under_way = UnderWay::begin(&activity);
            answer(Arc::clone(&app), routes.clone(), request, under_way)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut ending = false;
        let mut seen = u64::MAX;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection ended early");
                    }
                    return;
                }
                _ = stopping.wait_for(|stop| *stop), if !ending => {
                    ending = true;
                    end(connection.as_mut());
                }
                () = tokio::time::sleep(app.http.idle_timeout) => {
                    let begun = activity.begun.load(Ordering::Relaxed);
                    let idle = activity.under_way.load(Ordering::Relaxed) == 0 && begun == seen;
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

/// Lets a connection end once the requests under way are answered.
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

/// Marks a response whose body goes on for as long as the client listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streaming;

/// Answers one request, and counts it.
async fn answer(
    app: Arc<App>,
    mut routes: Router,
    request: Request<Incoming>,
    under_way: UnderWay,
) -> Result<Response<Body>, Infallible> {
    let begun = Instant::now();
    let route = app.metrics.http.route(request.uri().path());
    let mut response = routes.call(request.map(Body::new)).await?;
    app.metrics
        .http
        .answered(route, response.status(), begun.elapsed());
    if response.extensions_mut().remove::<Streaming>().is_some() {
        // As long as there is more to come, the connection is not idle.
        response = response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _busy = &under_way;
                frame
            }))
        });
    }
    Ok(response)
}
