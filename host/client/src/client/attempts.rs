//! Sends a request to one node after the other, within a deadline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use tokio::time::Instant;

use super::response;
use super::state::ClientState;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::retry::{LEAST_ATTEMPT, Replay, Rounds, node_timeout, random_bits, share};
use crate::transport::{ExchangeError, HttpCall, HttpReply, Transport};

/// The longest time of a header `Retry-After` that is respected. Nodes send 1 second.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// All attempts failed.
#[derive(Debug)]
pub(super) struct RetriesExhausted {
    /// The most informative failure.
    pub(super) error: RequestError,
    /// The last attempt at which a node may have accepted the request. `None`: no node accepted it.
    pub(super) doubt: Option<RequestError>,
}

/// One attempt failed.
#[derive(Clone, Debug)]
pub(super) enum AttemptError {
    /// Nothing was sent.
    NotConnected(Endpoint, String),
    /// The request was sent, then the connection broke.
    Broken(Endpoint, String),
    /// The node responded, but its response does not contain the outcome.
    Unclear(Endpoint, String),
    /// Something else than a node responded, for example a proxy or another server. With a status of 500 or more, it may have passed the
    /// request on.
    Foreign(Endpoint, StatusCode),
    /// The request was sent, and no response arrived in time.
    Silent(Endpoint),
    /// The response cannot be read. A retry would give the same.
    Malformed(Endpoint, String),
    /// The node did not accept the request. A later attempt may succeed, on this node after the time in `Retry-After`.
    Declined {
        /// For the caller.
        error: RequestError,
        /// How long the node is not to be tried.
        retry_after: Duration,
    },
    /// The node accepted the request and timed out waiting for its outcome.
    GaveUp(String),
}

impl AttemptError {
    /// The failure of an exchange with a node.
    pub(super) fn of(endpoint: &Endpoint, error: ExchangeError) -> Self {
        let endpoint = endpoint.clone();
        match error {
            ExchangeError::NotConnected(message) => Self::NotConnected(endpoint, message),
            ExchangeError::Broken(message) => Self::Broken(endpoint, message),
            ExchangeError::Silent => Self::Silent(endpoint),
            ExchangeError::Unreadable(message) => Self::Malformed(endpoint, message),
        }
    }

    fn may_be_carried_out(&self) -> bool {
        match self {
            Self::NotConnected(..) | Self::Declined { .. } => false,
            Self::Foreign(_, status) => status.is_server_error(),
            Self::Broken(..)
            | Self::Unclear(..)
            | Self::Silent(_)
            | Self::Malformed(..)
            | Self::GaveUp(_) => true,
        }
    }

    /// The error for the caller. `waited`: timeout of the whole request.
    pub(super) fn into_error(self, waited: Duration) -> RequestError {
        match self {
            Self::NotConnected(endpoint, message) => RequestError::Unreachable {
                tried: format!("{endpoint}: {message}"),
            },
            Self::Broken(endpoint, message) | Self::Unclear(endpoint, message) => {
                RequestError::Broken { endpoint, message }
            }
            Self::Foreign(endpoint, status) => RequestError::Malformed {
                endpoint,
                message: foreign(status),
            },
            Self::Silent(endpoint) => RequestError::TimedOut {
                waited,
                message: format!("{endpoint} did not respond"),
            },
            Self::Malformed(endpoint, message) => RequestError::Malformed { endpoint, message },
            Self::Declined { error, .. } => error,
            Self::GaveUp(message) => RequestError::TimedOut { waited, message },
        }
    }
}

/// What is said of a response that no node sends.
fn foreign(status: StatusCode) -> String {
    format!(
        "HTTP {} without an error object in the body, which no node sends: is this another server or a proxy?",
        status.as_u16()
    )
}

/// Whether a node may have sent the response: its errors have an object in the body.
fn is_of_a_node(reply: &HttpReply) -> bool {
    let is_error = reply.status.is_client_error() || reply.status.is_server_error();
    let is_refusal = reply.status == StatusCode::UNPROCESSABLE_ENTITY;
    !is_error || is_refusal || response::host_error(&reply.body).is_some()
}

/// Sends a request to one node once, for at most `limit`.
pub(super) async fn attempt(
    transport: &Transport,
    endpoint: &Endpoint,
    call: &HttpCall,
    limit: Duration,
) -> Result<HttpReply, AttemptError> {
    let reply = transport
        .exchange(endpoint, call, limit, node_timeout(limit))
        .await
        .map_err(|error| AttemptError::of(endpoint, error))?;
    if !is_of_a_node(&reply) {
        return Err(AttemptError::Foreign(endpoint.clone(), reply.status));
    }
    match reply.status {
        // The guest failed, as it would on every node.
        StatusCode::INSUFFICIENT_STORAGE if response::is_state_full(&reply.body) => Ok(reply),
        StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::INSUFFICIENT_STORAGE
        | StatusCode::GATEWAY_TIMEOUT => Err(declined(endpoint, reply)),
        _ => Ok(reply),
    }
}

pub(super) fn declined(endpoint: &Endpoint, reply: HttpReply) -> AttemptError {
    let Some(error) = response::host_error(&reply.body) else {
        return AttemptError::Unclear(
            endpoint.clone(),
            format!(
                "HTTP {} without an error object in the body",
                reply.status.as_u16()
            ),
        );
    };
    let message = error.text();
    let retry_after = retry_after(&reply.headers);
    match (reply.status, error.code.as_str()) {
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::INSUFFICIENT_STORAGE, _) => {
            AttemptError::Declined {
                error: RequestError::Overloaded { message },
                retry_after,
            }
        }
        (StatusCode::SERVICE_UNAVAILABLE, "no_leader") => AttemptError::Declined {
            error: RequestError::NoLeader { message },
            retry_after,
        },
        // For example `stopping`: the node accepted the request and does not know its outcome.
        (StatusCode::SERVICE_UNAVAILABLE, code) => {
            AttemptError::Unclear(endpoint.clone(), format!("{message} ({code})"))
        }
        _ => AttemptError::GaveUp(message),
    }
}

/// The time in the header `Retry-After`, at most [`LONGEST_RETRY_AFTER`]. Zero without the header.
fn retry_after(headers: &HeaderMap) -> Duration {
    let value = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = value.and_then(|text| text.parse().ok());
    seconds.map_or(Duration::ZERO, |seconds| {
        Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER)
    })
}

/// Sends a request to one node after the other, until a response is final or until `deadline`.
pub(super) async fn call(
    shared: &ClientState,
    call: &HttpCall,
    deadline: Instant,
    waited: Duration,
    replay: Replay,
) -> Result<(Endpoint, HttpReply), RetriesExhausted> {
    let endpoints = &shared.endpoints;
    let mut rounds = Rounds::new(shared.preferred.load(Ordering::Relaxed), endpoints.len());
    let mut unconnected = ConnectionFailures::new(endpoints.len());
    let (mut last_response, mut doubt) = (None, None);
    let mut not_before = NotBefore::new(endpoints.len());
    loop {
        let position = rounds.position();
        let limit = share(
            deadline.saturating_duration_since(Instant::now()),
            endpoints.len(),
            replay,
        );
        let failed = match attempt(&shared.transport, &endpoints[position], call, limit).await {
            Ok(reply) => {
                if rounds.has_failed() {
                    shared.preferred.store(position, Ordering::Relaxed);
                }
                return Ok((endpoints[position].clone(), reply));
            }
            Err(failed) => failed,
        };
        shared.follows_leader.store(false, Ordering::Relaxed);
        unconnected.note(position, &failed);
        not_before.note(position, &failed);
        if failed.may_be_carried_out() {
            doubt = Some(failed.clone());
        }
        let pause = rounds.advance(random_bits());
        let pause = pause.max(not_before.skip_to_open(&mut rounds));
        let is_final = matches!(failed, AttemptError::Malformed(..))
            || (doubt.is_some() && replay == Replay::OnlyUnsent);
        let hopeless = shared.options.fail_fast || unconnected.are_foreign();
        let all_unreachable = hopeless && rounds.all_were_tried() && unconnected.are_everywhere();
        // The error of a node that responded is more informative than a failed connection.
        if !matches!(failed, AttemptError::NotConnected(..)) {
            last_response = Some(failed);
        }
        if is_final || all_unreachable || Instant::now() + pause + LEAST_ATTEMPT >= deadline {
            let everywhere = unconnected.are_everywhere();
            let reported = last_response.filter(|_| !everywhere);
            let doubt = doubt.map(|failed| match failed {
                AttemptError::Foreign(..) if everywhere => unconnected.error(),
                failed => failed.into_error(waited),
            });
            return Err(RetriesExhausted {
                error: reported
                    .map_or_else(|| unconnected.error(), |failed| failed.into_error(waited)),
                doubt,
            });
        }
        tokio::time::sleep(pause).await;
    }
}

/// When each endpoint may be tried again, according to its last `Retry-After`.
struct NotBefore(Vec<Option<Instant>>);

impl NotBefore {
    fn new(endpoints: usize) -> Self {
        Self(vec![None; endpoints])
    }

    fn note(&mut self, position: usize, failed: &AttemptError) {
        self.0[position] = match failed {
            AttemptError::Declined { retry_after, .. } => Some(Instant::now() + *retry_after),
            _ => None,
        };
    }

    /// Moves to the endpoint that may be tried first, in the order of the rounds, and returns the time until then.
    fn skip_to_open(&self, rounds: &mut Rounds) -> Duration {
        let now = Instant::now();
        let left = |position: usize| {
            self.0[position].map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
        };
        let shortest = (0..self.0.len()).map(left).min().unwrap_or_default();
        // One of the endpoints has the shortest time, so the loop ends within a round.
        while left(rounds.position()) > shortest {
            rounds.skip();
        }
        shortest
    }
}

/// The endpoints whose last attempt reached no node.
pub(super) struct ConnectionFailures(Vec<Option<ConnectionFailure>>);

/// Why an attempt reached no node.
#[derive(Clone)]
struct ConnectionFailure {
    text: String,
    /// Something else responded.
    is_foreign: bool,
}

impl ConnectionFailures {
    pub(super) fn new(endpoints: usize) -> Self {
        Self(vec![None; endpoints])
    }

    pub(super) fn note(&mut self, position: usize, failed: &AttemptError) {
        self.0[position] = match failed {
            AttemptError::NotConnected(endpoint, message) => Some(ConnectionFailure {
                text: format!("{endpoint}: {message}"),
                is_foreign: false,
            }),
            AttemptError::Foreign(endpoint, status) => Some(ConnectionFailure {
                text: format!("{endpoint}: {}", foreign(*status)),
                is_foreign: true,
            }),
            _ => None,
        };
    }

    /// Whether something else than a node responds at every endpoint.
    fn are_foreign(&self) -> bool {
        self.0
            .iter()
            .all(|failure| failure.as_ref().is_some_and(|failure| failure.is_foreign))
    }

    pub(super) fn are_everywhere(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// The error that lists every endpoint.
    pub(super) fn error(&self) -> RequestError {
        let failures = self.0.iter().flatten();
        let tried: Vec<_> = failures.map(|failure| failure.text.as_str()).collect();
        RequestError::Unreachable {
            tried: tried.join("; "),
        }
    }
}
