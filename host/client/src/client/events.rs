//! Follows the guest's events: one stream over all endpoints.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use super::attempts::{AttemptError, ConnectionFailures};
use super::state::ClientState;
use super::{Client, response};
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::event_lines::{EventLines, ReceivedEvent};
use crate::retry::{Rounds, random_bits};
use crate::transport::percent_encoded;

/// A node sends a line every 15 seconds. After this time without one, the client continues on another node.
const SILENCE: Duration = Duration::from_secs(45);
/// Pause before the stream continues on another node.
const PAUSE: Duration = Duration::from_millis(50);

/// Which events to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventOptions {
    /// Only events of this topic.
    pub topic: Option<String>,
    /// Only events after the one with this id, including past ones. Default: new events.
    pub after: Option<String>,
}

impl Client {
    /// Follows the guest's events.
    #[must_use]
    pub fn events(&self, options: EventOptions) -> EventStream {
        let target = match &options.topic {
            None => "/v1/events".to_owned(),
            Some(topic) => format!("/v1/events?topic={}", percent_encoded(topic)),
        };
        stream(&self.shared, target, options.after)
    }
}

/// A stream of server-sent events at a path of every node.
pub(super) fn stream(
    shared: &Arc<ClientState>,
    target: String,
    after: Option<String>,
) -> EventStream {
    EventStream {
        shared: Arc::clone(shared),
        target,
        after,
        open: None,
        ready: VecDeque::new(),
        skip: 0,
    }
}

/// A stream of events without end. If a node fails, it continues after the last event on another node, so that no event
/// is lost or repeated. Where a node no longer stores an event, the topic `oarlock.gap` reports it.
#[derive(Debug)]
pub struct EventStream {
    shared: Arc<ClientState>,
    target: String,
    /// Id of the last event, or a later position that a node has sent.
    after: Option<String>,
    open: Option<OpenStream>,
    ready: VecDeque<ReceivedEvent>,
    /// Endpoints to pass over at the next connection: the last one failed.
    skip: usize,
}

/// A connection to one node.
#[derive(Debug)]
struct OpenStream {
    endpoint: Endpoint,
    body: Incoming,
    lines: EventLines,
}

impl EventStream {
    /// The node to which it is connected, or the first one.
    pub(super) fn endpoint(&self) -> Endpoint {
        let connected = self.open.as_ref().map(|open| &open.endpoint);
        connected.unwrap_or(&self.shared.endpoints[0]).clone()
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// No node has accepted the stream within the timeout of the client, or a node refused its parameters. A later call
    /// tries again.
    pub async fn next(&mut self) -> Result<ReceivedEvent, RequestError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = Some(event.id.clone());
                return Ok(event);
            }
            let open = match &mut self.open {
                Some(open) => open,
                None => self.open.insert(
                    connect(&self.shared, &self.target, self.after.as_deref(), self.skip).await?,
                ),
            };
            // Nodes also send their position without an event: at the start, and where they have skipped events. The stream
            // continues there if the connection breaks.
            self.after = open.lines.last_id().or(self.after.take());
            let frame = timeout(SILENCE, open.body.frame()).await;
            let Ok(Some(Ok(frame))) = frame else {
                self.open = None;
                self.skip = 1;
                // Nodes that stop at once, one after the other, are not asked in a tight loop.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            self.skip = 0;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let limit = self.shared.options.max_reply_bytes;
            match open.lines.push(&data, limit) {
                Ok(events) => self.ready.extend(events),
                Err(message) => {
                    let endpoint = open.endpoint.clone();
                    self.open = None;
                    return Err(RequestError::Malformed { endpoint, message });
                }
            }
        }
    }
}

/// Opens the stream on one node after the other, until one accepts it.
async fn connect(
    shared: &ClientState,
    target: &str,
    after: Option<&str>,
    skip: usize,
) -> Result<OpenStream, RequestError> {
    let (endpoint, response) = open_somewhere(shared, target, after, skip).await?;
    Ok(OpenStream {
        endpoint,
        body: response.into_body(),
        lines: EventLines::default(),
    })
}

/// Sends a request for a long response to one node after the other, until one responds with 200. Returns the head of the response.
pub(super) async fn open_somewhere(
    shared: &ClientState,
    target: &str,
    after: Option<&str>,
    skip: usize,
) -> Result<(Endpoint, hyper::Response<Incoming>), RequestError> {
    let endpoints = &shared.endpoints;
    let limit = shared.options.timeout;
    let deadline = Instant::now() + limit;
    let first = shared.preferred.load(Ordering::Relaxed) + skip;
    let mut rounds = Rounds::new(first, endpoints.len());
    let mut unconnected = ConnectionFailures::new(endpoints.len());
    loop {
        let position = rounds.position();
        let endpoint = &endpoints[position];
        let left = deadline.saturating_duration_since(Instant::now());
        let failed = match shared.transport.open(endpoint, target, after, left).await {
            Ok(response) if response.status() == StatusCode::OK => {
                shared.preferred.store(position, Ordering::Relaxed);
                return Ok((endpoint.clone(), response));
            }
            Ok(refusal) => refused(shared, endpoint, refusal, left).await?,
            Err(error) => AttemptError::of(endpoint, error),
        };
        unconnected.note(position, &failed);
        let pause = rounds.advance(random_bits());
        let is_unreachable = rounds.all_were_tried() && unconnected.are_everywhere();
        if (is_unreachable && shared.options.fail_fast) || Instant::now() + pause >= deadline {
            return Err(if unconnected.are_everywhere() {
                unconnected.error()
            } else {
                failed.into_error(limit)
            });
        }
        tokio::time::sleep(pause).await;
    }
}

/// A response other than 200: an error for the caller, or a reason to try another node.
async fn refused(
    shared: &ClientState,
    endpoint: &Endpoint,
    refusal: hyper::Response<Incoming>,
    left: Duration,
) -> Result<AttemptError, RequestError> {
    match shared
        .transport
        .read(refusal, shared.options.max_reply_bytes, left)
        .await
    {
        Ok(reply)
            if reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS =>
        {
            Ok(super::attempts::declined(endpoint, reply))
        }
        Ok(reply) => match response::expect_ok(endpoint, reply) {
            Ok(_) => Ok(AttemptError::Silent(endpoint.clone())),
            Err(error) => Err(error),
        },
        Err(error) => Ok(AttemptError::of(endpoint, error)),
    }
}
