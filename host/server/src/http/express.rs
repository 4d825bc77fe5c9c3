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
use task_queue_raft::SubmitError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::sleep;

use super::app::App;
use super::apply;
use super::authorize;
use super::connection_table::{ConnectionAccount, WaitingShare};
use super::error::ApiError;
use super::query::{self, ClientQuery};
use super::query_gate::PayingClient;
use super::reply::ReplyResult;
use super::request;
use crate::access::{AccessRole, Requester};
use crate::metrics::HttpRoute;
use parse::{ParseResult, ParsedRequest, Target};
pub(super) use rewind::Rewind;

/// Most requests in flight on one connection. At the limit, no further one begins until the oldest one completes.
const MAX_IN_FLIGHT: usize = 256;
/// How often the responses are counted that wait for an earlier one.
const COUNT_PAUSE: Duration = Duration::from_millis(20);
/// How long a request may take before a client that has closed its half of the connection is asked for a sign of life, and the
/// time between two of them.
const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// An interim response (RFC 9110 §15.2), which every client ignores. A client that has closed the whole connection resets it.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How long the end of a connection may take.
const SHUTDOWN: Duration = Duration::from_secs(1);
/// Smallest and largest buffer for one read, in bytes. The size adapts to the traffic of the connection.
const MIN_READ: usize = 4 << 10;
const MAX_READ: usize = 64 << 10;

/// What a response has besides the guest's bytes, about.
const HEAD_BYTES: usize = 256;
/// Bytes that a connection reads while it begins no further request.
const READ_AHEAD: usize = 16 << 10;

/// What becomes of a request.
type Reply<'a> = Pin<Box<dyn Future<Output = ReplyResult> + Send + 'a>>;

/// A request whose response is not written yet.
struct InFlight<'a> {
    reply: Reply<'a>,
    /// The connection drops `reply` then. `None`: it ends by itself.
    deadline: Option<tokio::time::Instant>,
    /// The result of `reply`.
    done: Option<ReplyResult>,
    /// What `done` makes wait for the connection, if it waits for an earlier request.
    share: Option<WaitingShare>,
    route: HttpRoute,
    begun: Instant,
}

impl InFlight<'_> {
    /// Polls the request. Returns whether it is complete.
    fn poll(&mut self, context: &mut std::task::Context<'_>) -> bool {
        if self.done.is_none()
            && let Poll::Ready(reply) = self.reply.as_mut().poll(context)
        {
            self.done = Some(reply);
        }
        self.done.is_some()
    }

    /// Polls a request that waits for an earlier one. If it is complete, its response counts as waiting.
    fn poll_waiting(
        &mut self,
        account: &Arc<ConnectionAccount>,
        context: &mut std::task::Context<'_>,
    ) {
        if self.poll(context)
            && let Some(reply) = &self.done
            && self.share.is_none()
        {
            let bytes = reply.as_ref().map_or(0, |reply| reply.body.len());
            self.share = Some(account.wait_for((bytes + HEAD_BYTES) as u64));
        }
    }

    /// Past its deadline, a request that is not complete fails.
    fn expire(&mut self, now: tokio::time::Instant, context: &mut std::task::Context<'_>) {
        if self.deadline.is_some_and(|deadline| deadline <= now) && !self.poll(context) {
            self.done = Some(Err(ApiError::of_query(&SubmitError::TimedOut)));
            // Dropped, a query is cancelled.
            self.reply = Box::pin(std::future::pending());
        }
    }
}

/// Why no further request was taken from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// The input holds no complete request.
    NeedsBytes,
    /// [`MAX_IN_FLIGHT`] requests are in flight, the client does not read, or the connection is closing.
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
    /// A stopping node has waited long enough for a further request.
    Lingered,
    /// The connection may have been idle for too long, or the deadline of a request may have come.
    Timer,
    /// It is time to count the responses that wait for an earlier one.
    Count,
    /// It is time to find out whether a client that has closed its half of the connection is still there.
    Probe,
}

/// Serves a connection on the fast path. Returns the connection if it needs the slow path, and `None` if it has ended.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    app: &Arc<App>,
    stream: S,
    local: Option<IpAddr>,
    caller: &Requester,
    account: &Arc<ConnectionAccount>,
    stopping: watch::Receiver<bool>,
) -> Option<Rewind<S>> {
    let express = Express {
        app,
        stream,
        local,
        caller,
        account,
        input: BytesMut::new(),
        read_size: MIN_READ,
        in_flight: VecDeque::new(),
        out: Vec::new(),
        writing: WaitingShare::of(account),
        ended: false,
        is_last: false,
        counted: Instant::now(),
        idle_since: Instant::now(),
        wake_by: None,
    };
    express.run(stopping).await
}

struct Express<'a, S> {
    app: &'a Arc<App>,
    stream: S,
    /// The address to which the client has connected.
    local: Option<IpAddr>,
    caller: &'a Requester,
    account: &'a Arc<ConnectionAccount>,
    /// Bytes that are read and not parsed yet.
    input: BytesMut,
    /// Bytes to reserve for the next read.
    read_size: usize,
    /// In the order of their arrival.
    in_flight: VecDeque<InFlight<'a>>,
    /// Buffer for responses, empty between writes.
    out: Vec<u8>,
    /// The share of what is in `out`.
    writing: WaitingShare,
    /// The client has closed its half of the connection.
    ended: bool,
    /// The client has sent its last request: it had `Connection: close`.
    is_last: bool,
    /// When the responses that wait for an earlier one were last counted.
    counted: Instant,
    /// Time of the last activity: bytes of a request arrived, or a response was sent.
    idle_since: Instant,
    /// The timer has to expire by then.
    wake_by: Option<tokio::time::Instant>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Express<'a, S> {
    async fn run(mut self, stopping: watch::Receiver<bool>) -> Option<Rewind<S>> {
        let stop = stopped(stopping.clone());
        tokio::pin!(stop);
        // When a stopping node takes no further request.
        let mut closing: Option<tokio::time::Instant> = None;
        // One for all that the connection waits for, because a timer for each request costs more than a short query.
        let timer = sleep(self.app.http.idle_timeout);
        tokio::pin!(timer);
        let mut partial = false;
        let probe = sleep(PROBE_PAUSE);
        tokio::pin!(probe);
        loop {
            self.account.set_active(self.in_flight.len());
            let lingers = closing.is_none_or(|until| tokio::time::Instant::now() < until);
            let intake = if self.is_last || !lingers {
                Intake::Paused
            } else {
                self.take_requests().await
            };
            if partial == self.input.is_empty() {
                partial = !partial;
                self.idle_since = Instant::now();
                self.wake_by((self.idle_since + self.timeout()).into());
            }
            if let Some(at) = self.wake_by.take()
                && at < timer.deadline()
            {
                timer.as_mut().reset(at);
            }
            if self.in_flight.is_empty() {
                match intake {
                    Intake::SlowPath => return Some(self.hand_over()),
                    // The request will never be complete: the slow path sends the error response.
                    Intake::NeedsBytes if self.ended && !self.input.is_empty() => {
                        return Some(self.hand_over());
                    }
                    Intake::NeedsBytes if self.ended => return None,
                    Intake::Paused => return self.shut_down().await,
                    Intake::NeedsBytes => {}
                }
            }
            let reads = !self.ended && self.wants_bytes(intake, closing.is_some());
            self.input.reserve(if reads { self.read_size } else { 0 });
            let count_at = tokio::time::Instant::from_std(self.counted + COUNT_PAUSE);
            let waits = self.in_flight.len() > 1;
            let event = tokio::select! {
                biased;
                () = first_done(&mut self.in_flight), if !self.in_flight.is_empty() => ConnectionEvent::Done,
                read = self.stream.read_buf(&mut self.input), if reads => ConnectionEvent::Read(read),
                // While a request is in flight, its end comes first.
                () = &mut stop, if closing.is_none() && self.in_flight.is_empty() => ConnectionEvent::Stop,
                () = until(closing), if closing.is_some() && lingers => ConnectionEvent::Lingered,
                () = &mut timer => ConnectionEvent::Timer,
                () = until(Some(count_at)), if waits => ConnectionEvent::Count,
                () = &mut probe, if self.ended => ConnectionEvent::Probe,
            };
            match event {
                ConnectionEvent::Done => {
                    // Without a sender, the server has been dropped, which is a stop too.
                    let stops = closing.is_some() || stopping.has_changed().unwrap_or(true);
                    self.write_responses(stops).await?;
                }
                ConnectionEvent::Read(read) => {
                    self.note_read(read.ok()?);
                    if self.ended {
                        probe.as_mut().reset((Instant::now() + PROBE_PAUSE).into());
                    }
                }
                ConnectionEvent::Count => self.count_responses().await,
                ConnectionEvent::Probe => {
                    self.send_probe().await?;
                    probe.as_mut().reset((Instant::now() + PROBE_PAUSE).into());
                }
                ConnectionEvent::Stop => {
                    closing = Some(tokio::time::Instant::now() + self.app.http.shutdown_linger);
                }
                ConnectionEvent::Lingered => {}
                ConnectionEvent::Timer => {
                    self.expire_requests().await;
                    if !self.in_flight.is_empty() {
                        self.idle_since = Instant::now();
                    } else if self.idle_since.elapsed() >= self.timeout() {
                        // An incomplete request timed out: the slow path sends the error response.
                        return partial.then(|| self.hand_over());
                    }
                    timer.as_mut().reset(self.next_deadline());
                }
            }
        }
    }

    /// The timer has to expire by then.
    fn wake_by(&mut self, at: tokio::time::Instant) {
        self.wake_by = Some(self.wake_by.map_or(at, |other| other.min(at)));
    }

    /// When the connection will have been idle for too long, or a request will have.
    fn next_deadline(&self) -> tokio::time::Instant {
        let waiting = self.in_flight.iter().filter(|one| one.done.is_none());
        let idle = (self.idle_since + self.timeout()).into();
        waiting.filter_map(|one| one.deadline).fold(idle, Ord::min)
    }

    /// Ends the requests whose time is over.
    async fn expire_requests(&mut self) {
        let now = tokio::time::Instant::now();
        let in_flight = &mut self.in_flight;
        poll_fn(|context| {
            in_flight
                .iter_mut()
                .for_each(|request| request.expire(now, context));
            Poll::Ready(())
        })
        .await;
    }

    /// Whether to read on. A connection that begins no further request still reads a little, to find out that its client has gone.
    fn wants_bytes(&self, intake: Intake, closing: bool) -> bool {
        match intake {
            Intake::NeedsBytes => true,
            Intake::Paused => !closing && !self.is_last && self.input.len() < READ_AHEAD,
            Intake::SlowPath => self.input.len() < READ_AHEAD,
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

    /// Counts the responses that are complete and wait for an earlier one.
    async fn count_responses(&mut self) {
        let (in_flight, account) = (&mut self.in_flight, self.account);
        poll_fn(|context| {
            for request in in_flight.iter_mut() {
                request.poll_waiting(account, context);
            }
            Poll::Ready(())
        })
        .await;
        self.counted = Instant::now();
    }

    /// Sends what makes the system of a client that has gone reset the connection. `None` if it has.
    async fn send_probe(&mut self) -> Option<()> {
        let sent = async {
            self.stream.write_all(PROBE).await?;
            self.stream.flush().await
        };
        // A client that has ended its requests and does not read either has gone too.
        let sent = tokio::time::timeout(PROBE_PAUSE, sent).await.ok()?;
        sent.ok()
    }

    /// Ends the connection after the last response.
    async fn shut_down(mut self) -> Option<Rewind<S>> {
        // An error or a timeout means that the client has gone.
        let _ = tokio::time::timeout(SHUTDOWN, self.stream.shutdown()).await;
        None
    }

    fn hand_over(self) -> Rewind<S> {
        self.account.set_active(0);
        Rewind::new(self.input.freeze(), self.stream)
    }

    /// Starts every complete request in the input.
    async fn take_requests(&mut self) -> Intake {
        loop {
            let is_full = self.in_flight.len() >= MAX_IN_FLIGHT;
            if is_full || self.is_last || !self.account.has_room() {
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
            self.is_last = parsed.is_last;
            self.idle_since = begun.begun;
            if let Some(deadline) = begun.deadline {
                self.wake_by(deadline);
            }
            // The first poll submits the command, so that commands enter the log in the order of the requests.
            poll_fn(|context| Poll::Ready(begun.poll(context))).await;
            self.in_flight.push_back(begun);
        }
    }

    fn begin(&self, parsed: &ParsedRequest) -> InFlight<'a> {
        let begun = Instant::now();
        let body = &self.input[parsed.body.clone()];
        let (reply, deadline) = match self.prepare(parsed, body, begun) {
            Ok(prepared) => prepared,
            Err(error) => {
                let reply: Reply<'a> = Box::pin(std::future::ready(Err(error)));
                (reply, None)
            }
        };
        InFlight {
            reply,
            deadline,
            done: None,
            share: None,
            route: self.app.metrics.http.route(parsed.target.path()),
            begun,
        }
    }

    /// What becomes of a request, and when it has to be dropped if it has not ended.
    fn prepare(
        &self,
        parsed: &ParsedRequest,
        body: &[u8],
        begun: Instant,
    ) -> Result<(Reply<'a>, Option<tokio::time::Instant>), ApiError> {
        let needs = match parsed.target {
            Target::Apply => AccessRole::Writer,
            Target::Query(_) => AccessRole::Reader,
        };
        let caller = authorize::identify(self.app, &parsed.headers, self.caller.clone())?;
        let allowed = caller.check(Some(needs));
        allowed.map_err(|denied| ApiError::denied(&denied))?;
        let deadline = tokio::time::Instant::from_std(begun) + request::timeout(&parsed.headers)?;
        let share = self.app.bodies.take(body.len() as u64)?;
        let app: &'a App = self.app;
        match parsed.target {
            Target::Apply => {
                let key = request::idempotency_key(&parsed.headers)?;
                let envelope = apply::envelope(app, &caller, key, body)?;
                let reply: Reply<'a> = Box::pin(async move {
                    let reply = apply::submit(app, envelope, deadline).await;
                    drop(share);
                    reply
                });
                Ok((reply, None))
            }
            Target::Query(consistency) => {
                let query = ClientQuery {
                    request: share.hold(Bytes::copy_from_slice(body)),
                    caller: caller.for_guest().cloned(),
                    client: PayingClient::of(Some(&caller), self.account),
                    consistency,
                    deadline,
                };
                let reply: Reply<'a> = Box::pin(async move { query::run(app, &query).await });
                Ok((reply, Some(deadline)))
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
                    share,
                    route,
                    begun,
                    ..
                }) = self.in_flight.pop_front()
                else {
                    break;
                };
                if let Some(share) = share {
                    self.writing.absorb(share);
                }
                let last = (closing || self.is_last) && self.in_flight.is_empty();
                // It announces the end of the connection.
                self.is_last |= last;
                let status = write::response(&mut self.out, self.app, reply, last);
                self.app
                    .metrics
                    .http
                    .completed(route, status, begun.elapsed());
            }
            Poll::Ready(())
        })
        .await;
        let written = self.write_out().await;
        self.idle_since = Instant::now();
        self.out.clear();
        self.writing.release_all();
        if self.out.capacity() > MAX_READ {
            self.out = Vec::new();
        }
        written.ok()
    }

    /// Writes `out`. What the socket does not take at once counts as waiting. While the client does not read, further responses
    /// that are complete count too.
    async fn write_out(&mut self) -> std::io::Result<()> {
        let Self {
            stream,
            out,
            writing,
            in_flight,
            account,
            ..
        } = self;
        let mut written = 0;
        while written < out.len() {
            let bytes = poll_fn(|context| {
                let polled = Pin::new(&mut *stream).poll_write(context, &out[written..]);
                if polled.is_pending() {
                    writing.add_up_to((out.len() - written) as u64);
                    for request in in_flight.iter_mut() {
                        request.poll_waiting(account, context);
                    }
                }
                polled
            })
            .await?;
            if bytes == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            written += bytes;
            writing.release(bytes as u64);
        }
        // A secured stream has a buffer of its own.
        stream.flush().await
    }
}

/// Waits until the node stops. An error means that the server has been dropped, which is a stop too.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Waits until this time; for ever without one.
async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits until the oldest request is complete.
async fn first_done(in_flight: &mut VecDeque<InFlight<'_>>) {
    poll_fn(|context| {
        let done = |first: &mut InFlight<'_>| first.poll(context);
        if in_flight.front_mut().is_some_and(done) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
