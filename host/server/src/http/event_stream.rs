//! Responses that are streams of server-sent events (HTML standard, section 9.2).
//!
//! Each client has a task, which takes frames from a [`FrameSource`] at the speed of the client. A source skips items that
//! the client does not want. So the id of the last frame may be far behind the position of the source, and its successor
//! may be dropped already. The task therefore also sends the position itself: at the start, with each keep-alive, and
//! before the stream ends.
//!
//! One event may be for thousands of clients. They get it in turn, see [`StreamTurns`], so that the threads of the runtime
//! serve other clients in between.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{Extensions, HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::app::App;
use super::connection_table::ConnectionAccount;
#[cfg(test)]
use super::connection_table::TrackedConnection;
use super::error::ApiError;
use super::stream_body::{ChunkSender, Disconnected, StreamBody, stream_body};
use super::stream_turns::StreamTurns;
use super::waiting_body::{CHUNK_BYTES, waiting};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The longest time without a frame. After it, the task sends a comment line: without one, a closed connection would stay
/// undetected.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest turn of a client. Its connection has asked for the chunk, so it is busy with other requests.
const LONGEST_TURN: Duration = Duration::from_millis(20);

/// Marks a response with an endless body, so that the server does not count its connection as idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streaming;

/// What one client reads.
pub(super) trait FrameSource: Send + 'static {
    /// The id after which a client that reconnects continues.
    fn position(&self) -> String;

    /// The next frame, or `None` if there is none yet. Moves the position, also over items that the client does not want.
    fn next_frame(&mut self) -> Option<Bytes>;

    /// Whether the stream ends after the present frames. Otherwise it waits for more.
    fn is_finished(&self) -> bool {
        false
    }
}

/// The id of the last frame that the client has received, if the request names one. The stream starts after it. `after` is
/// the parameter of the URL, for clients that can't set headers.
///
/// # Errors
/// It is not an id.
pub(super) fn last_id<I: FromStr>(
    headers: &HeaderMap,
    after: Option<&str>,
) -> Result<Option<I>, I::Err> {
    let header = headers.get(LAST_EVENT_ID);
    let header = header.map(|value| value.to_str().unwrap_or_default());
    // A browser that has not received an id yet sends an empty header.
    let text = header.filter(|text| !text.is_empty()).or(after);
    text.map(str::parse).transpose()
}

/// The client of one stream.
pub(super) struct StreamClient {
    /// Counts the frames that wait for it.
    account: Arc<ConnectionAccount>,
    turns: StreamTurns,
    /// Its place among the streams of this node. `None` in a test.
    _place: Option<OwnedSemaphorePermit>,
}

impl StreamClient {
    /// The client of a connection, in a test.
    #[cfg(test)]
    pub(super) fn of_connection(connection: &TrackedConnection) -> Self {
        Self {
            account: Arc::clone(connection.account()),
            turns: StreamTurns::default(),
            _place: None,
        }
    }

    /// The client of a request with these extensions.
    ///
    /// # Errors
    /// 429 if this node has too many streams.
    pub(super) fn of(app: &App, extensions: &Extensions) -> Result<Self, ApiError> {
        let place = Arc::clone(&app.stream_places).try_acquire_owned();
        let place = place.map_err(|_| ApiError::overloaded("streams of events and log lines"))?;
        let account = extensions.get::<Arc<ConnectionAccount>>();
        let account = account.ok_or_else(|| ApiError::internal("the request has no connection"))?;
        Ok(Self {
            account: Arc::clone(account),
            turns: app.stream_turns.clone(),
            _place: Some(place),
        })
    }
}

/// Streams the frames of a source until it is finished, the client disconnects or the node stops. `greeting` is the first
/// comment line, `changes` notifies of new frames, and `open` becomes `false` when the node stops.
pub(super) fn respond(
    source: impl FrameSource,
    client: StreamClient,
    greeting: &'static str,
    changes: watch::Receiver<()>,
    open: watch::Receiver<bool>,
) -> Response {
    let body = start(source, client, greeting, changes, open, KEEP_ALIVE);
    let mut response = Response::new(Body::new(body));
    response.extensions_mut().insert(Streaming);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Starts the task of one client. Returns the body of its response.
fn start(
    source: impl FrameSource,
    client: StreamClient,
    greeting: &'static str,
    changes: watch::Receiver<()>,
    open: watch::Receiver<bool>,
    keep_alive: Duration,
) -> StreamBody {
    let (sender, body) = stream_body();
    let task = StreamTask {
        source,
        client,
        changes,
        open,
        sender,
        keep_alive,
        due: Instant::now() + keep_alive,
    };
    tokio::spawn(task.run(greeting));
    body
}

struct StreamTask<S> {
    source: S,
    client: StreamClient,
    changes: watch::Receiver<()>,
    open: watch::Receiver<bool>,
    sender: ChunkSender,
    keep_alive: Duration,
    /// When the next keep-alive is sent, unless there is a frame before.
    due: Instant,
}

impl<S: FrameSource> StreamTask<S> {
    async fn run(mut self, greeting: &'static str) -> Result<(), Disconnected> {
        // A client that reconnects before the first frame continues here, and misses none.
        self.send_position(greeting).await?;
        loop {
            self.changes.mark_unchanged();
            while let Some(frame) = self.next_frame().await? {
                self.send(frame).await?;
            }
            if self.source.is_finished() {
                return self.send_position("end").await;
            }
            let is_idle = tokio::select! {
                changed = self.changes.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return Ok(()),
                },
                _ = self.open.wait_for(|open| !*open) => return Ok(()),
                () = tokio::time::sleep_until(self.due) => true,
            };
            if is_idle {
                self.send_position("keep-alive").await?;
            }
            if !*self.open.borrow() {
                return Ok(());
            }
        }
    }

    /// Sends a comment line and the position. This is not an event: it has no data.
    async fn send_position(&mut self, comment: &str) -> Result<(), Disconnected> {
        let position = self.source.position();
        self.send(format!(": {comment}\nid: {position}\n\n").into())
            .await
    }

    /// Frames stay in the source while the client does not read: then it gets a gap, or is disconnected.
    async fn next_frame(&mut self) -> Result<Option<Bytes>, Disconnected> {
        self.sender.wanted().await?;
        self.room().await?;
        Ok(self.source.next_frame())
    }

    async fn room(&mut self) -> Result<(), Disconnected> {
        tokio::select! {
            () = self.client.account.room() => Ok(()),
            () = self.client.account.closed() => Err(Disconnected),
        }
    }

    async fn send(&mut self, mut frame: Bytes) -> Result<(), Disconnected> {
        while !frame.is_empty() {
            self.sender.wanted().await?;
            let chunk = frame.split_to(frame.len().min(CHUNK_BYTES));
            let turn = self.client.turns.turn(chunk.len()).await;
            let share = self.client.account.wait_for(chunk.len() as u64);
            self.sender.send(waiting(chunk, share))?;
            if let Ok(taken) = tokio::time::timeout(LONGEST_TURN, self.sender.taken()).await {
                taken?;
            }
            drop(turn);
            self.sender.taken().await?;
        }
        self.due = Instant::now() + self.keep_alive;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
