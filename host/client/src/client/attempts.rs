//! Trying one node after the other, within a deadline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::Instant;

use super::{ClientState, answer};
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::retry::{LEAST_ATTEMPT, Replay, Rounds, node_timeout, random_bits, share};
use crate::transport::{ExchangeError, HttpCall, HttpReply, Transport};

/// All attempts failed.
#[derive(Debug)]
pub(super) struct RetriesExhausted {
    /// What says most about why.
    pub(super) error: RequestError,
    /// The last attempt at which a node may have taken the request, if there was any.
    pub(super) doubt: Option<RequestError>,
}

/// One attempt failed.
#[derive(Clone, Debug)]
pub(super) enum AttemptError {
    /// Nothing was sent.
    NotConnected(Endpoint, String),
    /// It was sent, and the connection broke.
    Broken(Endpoint, String),
    /// The node can't say what becomes of it.
    Unclear(Endpoint, String),
    /// It was sent, and there was silence.
    Silent(Endpoint),
    /// An answer came that can't be taken. Another node would give the same.
    Malformed(Endpoint, String),
    /// The node says that it did not take it, and that another moment may be better.
    Declined(RequestError),
    /// The node gave up waiting for an outcome.
    GaveUp(String),
}

impl AttemptError {
    fn may_be_carried_out(&self) -> bool {
        match self {
            Self::NotConnected(..) | Self::Declined(_) => false,
            Self::Broken(..)
            | Self::Unclear(..)
            | Self::Silent(_)
            | Self::Malformed(..)
            | Self::GaveUp(_) => true,
        }
    }

    /// As an error of a request that was given `waited` in all.
    pub(super) fn into_error(self, waited: Duration) -> RequestError {
        match self {
            Self::NotConnected(endpoint, message) => RequestError::Unreachable {
                tried: format!("{endpoint}: {message}"),
            },
            Self::Broken(endpoint, message) | Self::Unclear(endpoint, message) => {
                RequestError::Broken { endpoint, message }
            }
            Self::Silent(endpoint) => RequestError::TimedOut {
                waited,
                message: format!("{endpoint} is silent"),
            },
            Self::Malformed(endpoint, message) => RequestError::Malformed { endpoint, message },
            Self::Declined(error) => error,
            Self::GaveUp(message) => RequestError::TimedOut { waited, message },
        }
    }
}

/// Asks one node once, for at most `limit`.
pub(super) async fn attempt(
    transport: &Transport,
    endpoint: &Endpoint,
    call: &HttpCall,
    limit: Duration,
) -> Result<HttpReply, AttemptError> {
    let answer = match transport
        .exchange(endpoint, call, limit, node_timeout(limit))
        .await
    {
        Ok(answer) => answer,
        Err(ExchangeError::NotConnected(message)) => {
            return Err(AttemptError::NotConnected(endpoint.clone(), message));
        }
        Err(ExchangeError::Broken(message)) => {
            return Err(AttemptError::Broken(endpoint.clone(), message));
        }
        Err(ExchangeError::Silent) => return Err(AttemptError::Silent(endpoint.clone())),
        Err(ExchangeError::Unreadable(message)) => {
            return Err(AttemptError::Malformed(endpoint.clone(), message));
        }
    };
    match answer.status {
        StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::INSUFFICIENT_STORAGE
        | StatusCode::GATEWAY_TIMEOUT => Err(declined(endpoint, answer)),
        _ => Ok(answer),
    }
}

fn declined(endpoint: &Endpoint, answer: HttpReply) -> AttemptError {
    let Some(told) = answer::host_error(&answer.body) else {
        return AttemptError::Unclear(
            endpoint.clone(),
            format!(
                "HTTP {} without an error of the host",
                answer.status.as_u16()
            ),
        );
    };
    let message = told.text();
    match (answer.status, told.code.as_str()) {
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::INSUFFICIENT_STORAGE, _) => {
            AttemptError::Declined(RequestError::Overloaded { message })
        }
        (StatusCode::SERVICE_UNAVAILABLE, "no_leader") => {
            AttemptError::Declined(RequestError::NoLeader { message })
        }
        // Stopping, say: the node took it, and what became of it is not known.
        (StatusCode::SERVICE_UNAVAILABLE, code) => {
            AttemptError::Unclear(endpoint.clone(), format!("{message} ({code})"))
        }
        _ => AttemptError::GaveUp(message),
    }
}

/// Asks one node after the other until there is an answer that another attempt would not change, or `deadline`.
pub(super) async fn call(
    shared: &ClientState,
    call: &HttpCall,
    deadline: Instant,
    waited: Duration,
    replay: Replay,
) -> Result<(Endpoint, HttpReply), RetriesExhausted> {
    let endpoints = &shared.endpoints;
    let mut rounds = Rounds::new(shared.preferred.load(Ordering::Relaxed), endpoints.len());
    let mut refusals = Refusals::new(endpoints.len());
    let (mut words, mut doubt) = (None, None);
    loop {
        let position = rounds.position();
        let limit = share(
            deadline.saturating_duration_since(Instant::now()),
            endpoints.len(),
            replay,
        );
        let failed = match attempt(&shared.transport, &endpoints[position], call, limit).await {
            Ok(answer) => {
                shared.preferred.store(position, Ordering::Relaxed);
                return Ok((endpoints[position].clone(), answer));
            }
            Err(failed) => failed,
        };
        refusals.note(position, &failed);
        if failed.may_be_carried_out() {
            doubt = Some(failed.clone());
        }
        let pause = rounds.advance(random_bits(position as u64));
        let final_answer = matches!(failed, AttemptError::Malformed(..))
            || (doubt.is_some() && replay == Replay::OnlyUnsent);
        let nobody_there =
            shared.options.fail_fast && rounds.all_were_asked() && refusals.are_everywhere();
        // A node that answered says more than one that is not there.
        if !matches!(failed, AttemptError::NotConnected(..)) {
            words = Some(failed);
        }
        if final_answer || nobody_there || Instant::now() + pause + LEAST_ATTEMPT >= deadline {
            let told = words.filter(|_| !refusals.are_everywhere());
            return Err(RetriesExhausted {
                error: told.map_or_else(|| refusals.error(), |failed| failed.into_error(waited)),
                doubt: doubt.map(|failed| failed.into_error(waited)),
            });
        }
        tokio::time::sleep(pause).await;
    }
}

/// Which endpoints refused a connection at their last attempt, and why.
struct Refusals(Vec<Option<String>>);

impl Refusals {
    fn new(endpoints: usize) -> Self {
        Self(vec![None; endpoints])
    }

    fn note(&mut self, position: usize, failed: &AttemptError) {
        self.0[position] = match failed {
            AttemptError::NotConnected(endpoint, message) => Some(format!("{endpoint}: {message}")),
            _ => None,
        };
    }

    fn are_everywhere(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// The error that names them all.
    fn error(&self) -> RequestError {
        let tried: Vec<_> = self.0.iter().flatten().map(String::as_str).collect();
        RequestError::Unreachable {
            tried: tried.join("; "),
        }
    }
}
