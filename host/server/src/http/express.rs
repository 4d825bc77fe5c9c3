//! The fast path: small commands and queries over HTTP/1.1, parsed and processed without hyper.
//!
//! Nearly all requests are `POST /v1/apply` and `POST /v1/query` with a small body. On the fast path such a request
//! costs one read and one write of the socket, and few allocations. A client may pipeline requests (RFC 9112 §9.3.2):
//! all of them are processed concurrently. Responses are sent in the order of the requests, as many in one write as
//! are complete.
//!
//! Anything else takes the slow path: another route, HTTP/2, a chunked body, a large body, a request of a web page or for
//! another host. Once the responses to all
//! earlier requests are sent, the connection is handed to hyper together with the unprocessed bytes. It never returns
//! to the fast path.

mod parse;
mod rewind;
mod write;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use oarlock_wasm::MachineQuery;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::sleep;

use super::app::App;
use super::apply;
use super::authorize;
use super::error::ApiError;
use super::query;
use super::reply::ReplyResult;
use super::request;
use crate::access::{AccessRole, Requester};
use crate::metrics::HttpRoute;
use parse::{ParseResult, ParsedRequest, Target};
pub(super) use rewind::Rewind;

/// Most requests in flight on one connection. At the limit, the connection is not read until the oldest one completes.
const MAX_IN_FLIGHT: usize = 256;
/// Smallest and largest buffer for one read, in bytes. The size adapts to the traffic of the connection.
const MIN_READ: usize = 4 << 10;
const MAX_READ: usize = 64 << 10;

/// A request whose response is not written yet.
struct InFlight {
    reply: Pin<Box<dyn Future<Output = ReplyResult> + Send>>,
    /// The result of `reply`, while earlier requests are not complete.
    done: Option<ReplyResult>,
    route: HttpRoute,
    begun: Instant,
}

impl InFlight {
    /// Polls the request. Returns whether it is complete.
    fn poll(&mut self, context: &mut std::task::Context<'_>) -> bool {
        if self.done.is_none()
            && let Poll::Ready(reply) = self.reply.as_mut().poll(context)
        {
            self.done = Some(reply);
        }
        self.done.is_some()
    }
}

/// Why no further request was taken from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// The input holds no complete request.
    NeedsBytes,
    /// [`MAX_IN_FLIGHT`] requests are in flight, or the connection is closing.
    Paused,
    /// The next request needs the slow path.
    SlowPath,
}

/// An event on a connection.
enum ConnectionEvent {
    /// The oldest request in flight is complete.
    Done,
    /// A read returned.
    Read(std::io::Result<usize>),
    /// The node is stopping.
    Stop,
    /// The idle timer expired.
    Timer,
}

/// Serves a connection on the fast path. Returns the connection if it needs the slow path, and `None` if it has ended.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    app: &Arc<App>,
    stream: S,
    local: Option<IpAddr>,
    caller: &Requester,
    stopping: watch::Receiver<bool>,
) -> Option<Rewind<S>> {
    let express = Express {
        app,
        stream,
        local,
        caller,
        input: BytesMut::new(),
        read_size: MIN_READ,
        in_flight: VecDeque::new(),
        out: Vec::new(),
        ended: false,
        idle_since: Instant::now(),
    };
    express.run(stopping).await
}

struct Express<'a, S> {
    app: &'a Arc<App>,
    stream: S,
    /// The address to which the client has connected.
    local: Option<IpAddr>,
    caller: &'a Requester,
    /// Bytes that are read and not parsed yet.
    input: BytesMut,
    /// Bytes to reserve for the next read.
    read_size: usize,
    /// In the order of their arrival.
    in_flight: VecDeque<InFlight>,
    /// Buffer for responses, empty between writes.
    out: Vec<u8>,
    /// The client has closed its half of the connection.
    ended: bool,
    /// Time of the last activity: bytes of a request arrived, or a response was sent.
    idle_since: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Express<'_, S> {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) -> Option<Rewind<S>> {
        let stop = async {
            // An error means that the server has been dropped, which is a stop too.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stop);
        let mut closing = false;
        let timer = sleep(self.app.http.idle_timeout);
        tokio::pin!(timer);
        let mut partial = false;
        loop {
            let intake = if closing {
                Intake::Paused
            } else {
                self.take_requests().await
            };
            if partial == self.input.is_empty() {
                partial = !partial;
                self.idle_since = Instant::now();
                timer
                    .as_mut()
                    .reset((self.idle_since + self.timeout()).into());
            }
            if self.in_flight.is_empty() {
                match intake {
                    Intake::SlowPath => return Some(self.hand_over()),
                    // The request will never be complete: the slow path sends the error response.
                    Intake::NeedsBytes if self.ended && !self.input.is_empty() => {
                        return Some(self.hand_over());
                    }
                    Intake::NeedsBytes if self.ended => return None,
                    Intake::Paused => return None,
                    Intake::NeedsBytes => {}
                }
            }
            let reads = intake == Intake::NeedsBytes && !self.ended;
            self.input.reserve(if reads { self.read_size } else { 0 });
            let event = tokio::select! {
                biased;
                () = first_done(&mut self.in_flight), if !self.in_flight.is_empty() => ConnectionEvent::Done,
                read = self.stream.read_buf(&mut self.input), if reads => ConnectionEvent::Read(read),
                () = &mut stop, if !closing => ConnectionEvent::Stop,
                () = &mut timer => ConnectionEvent::Timer,
            };
            match event {
                ConnectionEvent::Done => self.write_responses(closing).await?,
                ConnectionEvent::Read(read) => self.note_read(read.ok()?),
                ConnectionEvent::Stop => closing = true,
                ConnectionEvent::Timer => {
                    if !self.in_flight.is_empty() {
                        self.idle_since = Instant::now();
                    } else if self.idle_since.elapsed() >= self.timeout() {
                        // An incomplete request timed out: the slow path sends the error response.
                        return partial.then(|| self.hand_over());
                    }
                    timer
                        .as_mut()
                        .reset((self.idle_since + self.timeout()).into());
                }
            }
        }
    }

    /// How long the connection may stay idle: between requests, or within an incomplete request.
    fn timeout(&self) -> Duration {
        let http = &self.app.http;
        if self.input.is_empty() {
            http.idle_timeout
        } else {
            http.body_timeout.min(http.idle_timeout)
        }
    }

    /// Adapts the size of the next read: doubles it after a read that filled the buffer. A read of 0 bytes is the end
    /// of the stream.
    fn note_read(&mut self, bytes: usize) {
        self.ended = bytes == 0;
        if self.input.len() == self.input.capacity() {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if bytes < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
    }

    fn hand_over(self) -> Rewind<S> {
        Rewind::new(self.input.freeze(), self.stream)
    }

    /// Starts every complete request in the input.
    async fn take_requests(&mut self) -> Intake {
        loop {
            if self.in_flight.len() >= MAX_IN_FLIGHT {
                return Intake::Paused;
            }
            let is_own_host = |host: &[u8]| self.app.answers_to(host, self.local);
            let limit = self.app.machine.command_bytes();
            let parsed = match parse::request(&self.input, limit, is_own_host) {
                ParseResult::Incomplete => return Intake::NeedsBytes,
                ParseResult::SlowPath => return Intake::SlowPath,
                ParseResult::Request(parsed) => parsed,
            };
            let mut begun = self.begin(&parsed);
            self.input.advance(parsed.length);
            self.idle_since = begun.begun;
            // The first poll submits the command, so that commands enter the log in the order of the requests.
            poll_fn(|context| Poll::Ready(begun.poll(context))).await;
            self.in_flight.push_back(begun);
        }
    }

    fn begin(&self, parsed: &ParsedRequest) -> InFlight {
        let begun = Instant::now();
        let body = &self.input[parsed.body.clone()];
        let reply = match self.prepare(parsed, body, begun) {
            Ok(reply) => reply,
            Err(error) => Box::pin(std::future::ready(Err(error))),
        };
        InFlight {
            reply,
            done: None,
            route: self.app.metrics.http.route(parsed.target.path()),
            begun,
        }
    }

    fn prepare(
        &self,
        parsed: &ParsedRequest,
        body: &[u8],
        begun: Instant,
    ) -> Result<Pin<Box<dyn Future<Output = ReplyResult> + Send>>, ApiError> {
        let needs = match parsed.target {
            Target::Apply => AccessRole::Writer,
            Target::Query(_) => AccessRole::Reader,
        };
        let caller = authorize::identify(self.app, &parsed.headers, self.caller.clone())?;
        let allowed = caller.check(Some(needs));
        allowed.map_err(|denied| ApiError::denied(&denied))?;
        let deadline = tokio::time::Instant::from_std(begun) + request::timeout(&parsed.headers)?;
        let share = self.app.bodies.take(body.len() as u64)?;
        let app = Arc::clone(self.app);
        match parsed.target {
            Target::Apply => {
                let key = request::idempotency_key(&parsed.headers)?;
                let envelope = apply::envelope(&app, &caller, key, body)?;
                Ok(Box::pin(async move {
                    let reply = apply::submit(&app, envelope, deadline).await;
                    drop(share);
                    reply
                }))
            }
            Target::Query(consistency) => {
                let query = MachineQuery {
                    request: Bytes::copy_from_slice(body),
                    caller: caller.for_guest().cloned(),
                };
                Ok(Box::pin(async move {
                    let reply = query::run(&app, query, consistency, deadline).await;
                    drop(share);
                    reply
                }))
            }
        }
    }

    /// Writes the responses of all complete requests before the first incomplete one. `None` if the client has closed
    /// the connection.
    async fn write_responses(&mut self, closing: bool) -> Option<()> {
        poll_fn(|context| {
            while self
                .in_flight
                .front_mut()
                .is_some_and(|first| first.poll(context))
            {
                let Some(InFlight {
                    done: Some(reply),
                    route,
                    begun,
                    ..
                }) = self.in_flight.pop_front()
                else {
                    break;
                };
                let last = closing && self.in_flight.is_empty();
                let status = write::response(&mut self.out, self.app, reply, last);
                self.app
                    .metrics
                    .http
                    .completed(route, status, begun.elapsed());
            }
            Poll::Ready(())
        })
        .await;
        let written = async {
            self.stream.write_all(&self.out).await?;
            // A secured stream has a buffer of its own.
            self.stream.flush().await
        }
        .await;
        self.idle_since = Instant::now();
        self.out.clear();
        if self.out.capacity() > 4 * MAX_READ {
            self.out = Vec::new();
        }
        written.ok()
    }
}

/// Waits until the oldest request is complete.
async fn first_done(in_flight: &mut VecDeque<InFlight>) {
    poll_fn(|context| {
        let done = |first: &mut InFlight| first.poll(context);
        if in_flight.front_mut().is_some_and(done) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
