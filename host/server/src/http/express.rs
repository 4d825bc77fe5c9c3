//! The short way: commands and questions over HTTP/1.1, read and answered without what they don't need.
//!
//! Nearly all that a node is asked is `POST /v1/apply` and `POST /v1/query` with a small body. On this way such a
//! request costs one read and one write of the socket, and little between them. A client may send further requests
//! before the first is answered (RFC 9112 §9.3.2): all of them are under way at once, and the answers leave in the
//! order of the requests, as many in one write as are there.
//!
//! Whatever else comes – another route, HTTP/2, a body in chunks, a large one – takes the long way: the connection is
//! handed over to hyper with the bytes that were read, once what came before it is answered, and stays there.

mod parse;
mod rewind;
mod write;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::App;
use super::apply::{self, GuestWords};
use super::error::ApiError;
use super::query;
use super::request;
use crate::metrics::Route;
use parse::{Parsed, Target, Wanted};
pub(super) use rewind::Rewind;

/// Requests under way on one connection; more are read once the first of them is answered.
const MAX_UNDER_WAY: usize = 256;
/// Bytes that are asked for at a time: few for a connection with small requests, more for one that fills them.
const MIN_READ: usize = 4 << 10;
const MAX_READ: usize = 64 << 10;

type Outcome = Result<GuestWords, ApiError>;

/// A request whose turn to be answered has not come.
struct UnderWay {
    outcome: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    /// It is there, and waits for those before it.
    done: Option<Outcome>,
    route: Route,
    begun: Instant,
}

impl UnderWay {
    /// Lets it go on. Says whether it is done.
    fn poll(&mut self, context: &mut std::task::Context<'_>) -> bool {
        if self.done.is_none()
            && let Poll::Ready(outcome) = self.outcome.as_mut().poll(context)
        {
            self.done = Some(outcome);
        }
        self.done.is_some()
    }
}

/// Why no further request is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The bytes that are here are those of no whole request.
    Read,
    /// As many as may are under way.
    Wait,
    /// Something for the long way.
    LongWay,
}

/// What has happened on a connection.
enum Event {
    /// The first request under way is done.
    Done,
    /// Bytes have come.
    Read(std::io::Result<usize>),
    /// The node stops.
    Stop,
    /// Nothing has happened for a while.
    Alarm,
}

/// Serves a connection for as long as this way is enough. What comes back is the connection for the long way; none if
/// it has ended.
pub(super) async fn run(
    app: &Arc<App>,
    stream: TcpStream,
    stopping: watch::Receiver<bool>,
) -> Option<Rewind<TcpStream>> {
    let express = Express {
        app,
        stream,
        input: BytesMut::new(),
        step: MIN_READ,
        under_way: VecDeque::new(),
        out: Vec::new(),
        ended: false,
        calm_since: Instant::now(),
    };
    express.run(stopping).await
}

struct Express<'a> {
    app: &'a Arc<App>,
    stream: TcpStream,
    input: BytesMut,
    /// Bytes that the next read asks for.
    step: usize,
    under_way: VecDeque<UnderWay>,
    out: Vec<u8>,
    /// The client sends nothing more.
    ended: bool,
    /// When a request last came whole, began to come, or was answered.
    calm_since: Instant,
}

impl Express<'_> {
    async fn run(mut self, mut stopping: watch::Receiver<bool>) -> Option<Rewind<TcpStream>> {
        let stop = async {
            // Without a sender there is nobody to say it.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        tokio::pin!(stop);
        let mut closing = false;
        let alarm = sleep(self.app.http.idle_timeout);
        tokio::pin!(alarm);
        let mut partial = false;
        loop {
            let next = if closing {
                Next::Wait
            } else {
                self.take_requests().await
            };
            if partial == self.input.is_empty() {
                partial = !partial;
                self.calm_since = Instant::now();
                alarm
                    .as_mut()
                    .reset((self.calm_since + self.patience()).into());
            }
            if self.under_way.is_empty() {
                match next {
                    // A request that will never be whole is told so there.
                    Next::LongWay => return Some(self.hand_over()),
                    Next::Read if self.ended && !self.input.is_empty() => {
                        return Some(self.hand_over());
                    }
                    Next::Read if self.ended => return None,
                    Next::Wait => return None,
                    Next::Read => {}
                }
            }
            let reads = next == Next::Read && !self.ended;
            self.input.reserve(if reads { self.step } else { 0 });
            let event = tokio::select! {
                biased;
                () = first_done(&mut self.under_way), if !self.under_way.is_empty() => Event::Done,
                read = self.stream.read_buf(&mut self.input), if reads => Event::Read(read),
                () = &mut stop, if !closing => Event::Stop,
                () = &mut alarm => Event::Alarm,
            };
            match event {
                Event::Done => self.write_answers(closing).await?,
                Event::Read(read) => self.note_read(read.ok()?),
                Event::Stop => closing = true,
                Event::Alarm => {
                    if !self.under_way.is_empty() {
                        self.calm_since = Instant::now();
                    } else if self.calm_since.elapsed() >= self.patience() {
                        // What is there of a request has come too slowly: the long way says so.
                        return partial.then(|| self.hand_over());
                    }
                    alarm
                        .as_mut()
                        .reset((self.calm_since + self.patience()).into());
                }
            }
        }
    }

    /// How long nothing may happen: without a request, or to the rest of one.
    fn patience(&self) -> Duration {
        let http = &self.app.http;
        if self.input.is_empty() {
            http.idle_timeout
        } else {
            http.body_timeout.min(http.idle_timeout)
        }
    }

    /// Asks for more next time where a read has filled what there was room for. No bytes are the end of the stream.
    fn note_read(&mut self, bytes: usize) {
        self.ended = bytes == 0;
        if self.input.len() == self.input.capacity() {
            self.step = (self.step * 2).min(MAX_READ);
        } else if bytes < self.step / 4 {
            self.step = (self.step / 2).max(MIN_READ);
        }
    }

    fn hand_over(self) -> Rewind<TcpStream> {
        Rewind::new(self.input.freeze(), self.stream)
    }

    /// Takes the requests that are whole, and begins with them.
    async fn take_requests(&mut self) -> Next {
        loop {
            if self.under_way.len() >= MAX_UNDER_WAY {
                return Next::Wait;
            }
            let wanted = match parse::request(&self.input, self.app.limits.command_bytes) {
                Parsed::Partial => return Next::Read,
                Parsed::Other => return Next::LongWay,
                Parsed::Request(wanted) => wanted,
            };
            let mut begun = self.begin(&wanted);
            self.input.advance(wanted.length);
            self.calm_since = begun.begun;
            // The first look hands it in; from then on it is under way.
            poll_fn(|context| Poll::Ready(begun.poll(context))).await;
            self.under_way.push_back(begun);
        }
    }

    fn begin(&self, wanted: &Wanted) -> UnderWay {
        let begun = Instant::now();
        let body = &self.input[wanted.body.clone()];
        let outcome = match self.prepared(wanted, body, begun) {
            Ok(outcome) => outcome,
            Err(error) => Box::pin(std::future::ready(Err(error))),
        };
        UnderWay {
            outcome,
            done: None,
            route: self.app.metrics.http.route(wanted.target.path()),
            begun,
        }
    }

    fn prepared(
        &self,
        wanted: &Wanted,
        body: &[u8],
        begun: Instant,
    ) -> Result<Pin<Box<dyn Future<Output = Outcome> + Send>>, ApiError> {
        let deadline = tokio::time::Instant::from_std(begun) + request::timeout(&wanted.headers)?;
        let share = self.app.bodies.take(body.len() as u64)?;
        let app = Arc::clone(self.app);
        match wanted.target {
            Target::Apply => {
                let key = request::idempotency_key(&wanted.headers)?;
                let envelope = apply::envelope(key, body)?;
                Ok(Box::pin(async move {
                    let outcome = apply::carry_out(&app, envelope, deadline).await;
                    drop(share);
                    outcome
                }))
            }
            Target::Query(consistency) => {
                let body = Bytes::copy_from_slice(body);
                Ok(Box::pin(async move {
                    let outcome = query::ask(&app, body, consistency, deadline).await;
                    drop(share);
                    outcome
                }))
            }
        }
    }

    /// Writes the answers that are there, up to the first one that is not. None if the client is gone.
    async fn write_answers(&mut self, closing: bool) -> Option<()> {
        poll_fn(|context| {
            while self
                .under_way
                .front_mut()
                .is_some_and(|first| first.poll(context))
            {
                let Some(UnderWay {
                    done: Some(outcome),
                    route,
                    begun,
                    ..
                }) = self.under_way.pop_front()
                else {
                    break;
                };
                let last = closing && self.under_way.is_empty();
                let status = write::answer(&mut self.out, self.app, outcome, last);
                self.app
                    .metrics
                    .http
                    .answered(route, status, begun.elapsed());
            }
            Poll::Ready(())
        })
        .await;
        let written = self.stream.write_all(&self.out).await;
        self.calm_since = Instant::now();
        self.out.clear();
        if self.out.capacity() > 4 * MAX_READ {
            self.out = Vec::new();
        }
        written.ok()
    }
}

/// Waits for the first of them.
async fn first_done(under_way: &mut VecDeque<UnderWay>) {
    poll_fn(|context| {
        let done = |first: &mut UnderWay| first.poll(context);
        if under_way.front_mut().is_some_and(done) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
