//! The client: what each operation sends, and what its answer means.

mod answer;
mod attempts;
mod operate;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::{ApplyError, ClientConfigError, QueryError, RequestError};
use crate::options::{ApplyOptions, ClientOptions, Key, QueryOptions, ReadConsistency, key_header};
use crate::retry::{Replay, random_bits};
use crate::status::NodeInfo;
use crate::transport::{HttpCall, HttpReply, Transport};
use attempts::{AttemptError, RetriesExhausted};
pub use operate::{LeadershipMoved, MembersChanged};
pub use upgrade::{
    EndedUpgrade, UpgradeDone, UpgradeHistory, UpgradeNodeProgress, UpgradeOptions, UpgradeProgress,
};

/// Longest module that is taken, in bytes.
const MAX_MODULE_BYTES: usize = 256 << 20;

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyResponse {
    /// Index of its entry in the log.
    pub index: u64,
    /// The guest's reply.
    pub reply: Bytes,
}

/// A query that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryResponse {
    /// The state that the answer describes is that after this entry.
    pub index: u64,
    /// The guest's answer.
    pub response: Bytes,
}

/// A client of one cluster. Cheap to clone; clones share connections. It needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<ClientState>,
}

#[derive(Debug)]
struct ClientState {
    endpoints: Vec<Endpoint>,
    options: ClientOptions,
    transport: Transport,
    /// Position of the endpoint that answered last: the one to begin with.
    preferred: AtomicUsize,
    /// Makes this client's keys differ from every other client's.
    key_prefix: String,
    /// Number of the next key.
    next_key: AtomicU64,
}

impl Client {
    /// A client with the default options. Any of the cluster's nodes will do; name all of them to survive the loss of
    /// some.
    ///
    /// # Errors
    /// Where there is no endpoint.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Self, ClientConfigError> {
        Self::with_options(endpoints, ClientOptions::default())
    }

    /// A client.
    ///
    /// # Errors
    /// Where there is no endpoint.
    pub fn with_options(
        endpoints: impl IntoIterator<Item = Endpoint>,
        options: ClientOptions,
    ) -> Result<Self, ClientConfigError> {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        if endpoints.is_empty() {
            return Err(ClientConfigError::NoEndpoints);
        }
        let shared = ClientState {
            endpoints,
            transport: Transport::new(&options),
            options,
            preferred: AtomicUsize::new(0),
            key_prefix: format!("{:016x}{:016x}", random_bits(1), random_bits(2)),
            next_key: AtomicU64::new(1),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The endpoints, in the order in which they were given.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.shared.endpoints
    }

    /// Has a command carried out, and returns the guest's reply.
    ///
    /// It tries other nodes while the deadline allows, and sends nothing again that could be carried out twice; see
    /// the [crate's page](crate).
    ///
    /// # Errors
    /// See [`ApplyError`]: each says whether the command was carried out.
    pub async fn apply(
        &self,
        command: impl Into<Bytes>,
        options: &ApplyOptions,
    ) -> Result<ApplyResponse, ApplyError> {
        let key = match &options.idempotency_key {
            Key::Automatic => Some(self.make_key()),
            Key::Given(key) => Some(key.clone()),
            Key::None => None,
        };
        let call = HttpCall {
            method: Method::POST,
            target: "/v1/apply".into(),
            key: key.as_deref().map(key_header).transpose()?,
            body: command.into(),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        let replay = if key.is_some() {
            Replay::Safe
        } else {
            Replay::OnlyUnsent
        };
        match self.call(&call, options.timeout, replay).await {
            Ok((endpoint, answer)) => answer::of_apply(&endpoint, answer, key),
            Err(RetriesExhausted { error, doubt }) => Err(match doubt {
                Some(cause) => ApplyError::OutcomeUnknown { key, cause },
                None => ApplyError::NotApplied(error),
            }),
        }
    }

    /// Asks the guest.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query(
        &self,
        query: impl Into<Bytes>,
        options: &QueryOptions,
    ) -> Result<QueryResponse, QueryError> {
        let call = HttpCall {
            method: Method::POST,
            target: match options.consistency {
                ReadConsistency::Linearizable => "/v1/query?consistency=linearizable".into(),
                ReadConsistency::Stale => "/v1/query?consistency=stale".into(),
            },
            key: None,
            body: query.into(),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        let (endpoint, answer) = self
            .call(&call, options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        answer::of_query(&endpoint, answer)
    }

    /// What the first node that answers says of itself and its cluster.
    ///
    /// # Errors
    /// Where none answers.
    pub async fn status(&self) -> Result<NodeInfo, RequestError> {
        let call = get("/v1/status", self.shared.options.max_reply_bytes);
        let (endpoint, answer) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        answer::json(&endpoint, &answer::expect_ok(&endpoint, answer)?)
    }

    /// What the node at `endpoint` says of itself. It is asked once.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn status_of(&self, endpoint: &Endpoint) -> Result<NodeInfo, RequestError> {
        let call = get("/v1/status", self.shared.options.max_reply_bytes);
        let answer = self
            .call_one(endpoint, &call)
            .await
            .map_err(|failed| self.error_of(failed))?;
        answer::json(endpoint, &answer::expect_ok(endpoint, answer)?)
    }

    /// What each node says of itself, all asked at once, in the order of the endpoints.
    pub async fn status_of_all(&self) -> Vec<(Endpoint, Result<NodeInfo, RequestError>)> {
        let mut asked = JoinSet::new();
        for (position, endpoint) in self.shared.endpoints.iter().enumerate() {
            let (client, endpoint) = (self.clone(), endpoint.clone());
            asked.spawn(async move { (position, client.status_of(&endpoint).await) });
        }
        let mut answers = asked.join_all().await;
        answers.sort_by_key(|(position, _)| *position);
        self.shared
            .endpoints
            .iter()
            .cloned()
            .zip(answers.into_iter().map(|(_, status)| status))
            .collect()
    }

    /// Whether the node at `endpoint` says that it has a leader and has caught up (`GET /readyz`). It is asked once.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn is_ready(&self, endpoint: &Endpoint) -> Result<bool, RequestError> {
        match self
            .call_one(
                endpoint,
                &get("/readyz", self.shared.options.max_reply_bytes),
            )
            .await
        {
            Ok(answer) => Ok(answer.status == StatusCode::OK),
            // It answers 503, whatever the reason that it gives.
            Err(AttemptError::Declined(_) | AttemptError::Unclear(..)) => Ok(false),
            Err(failed) => Err(self.error_of(failed)),
        }
    }

    /// Asks every endpoint who leads, and begins with that node from now on, which saves the way over another one.
    /// Returns the leader's endpoint, if it is among those of this client.
    pub async fn prefer_leader(&self) -> Option<Endpoint> {
        let answers = self.status_of_all().await;
        let leads =
            |status: &NodeInfo| status.leader_id.as_deref() == Some(status.node_id.as_str());
        // A leader that was cut off may believe in itself for a while: the latest term is the true one.
        let leader = answers
            .into_iter()
            .enumerate()
            .filter_map(|(position, (endpoint, status))| {
                Some((position, endpoint, status.ok().filter(leads)?))
            })
            .max_by_key(|(_, _, status)| status.term)?;
        self.shared.preferred.store(leader.0, Ordering::Relaxed);
        Some(leader.1)
    }

    /// Has the node at `endpoint` take a snapshot now, and returns what it says of it: JSON.
    ///
    /// # Errors
    /// Where it does not answer, or could not take one.
    pub async fn snapshot(&self, endpoint: &Endpoint) -> Result<Bytes, RequestError> {
        let call = HttpCall {
            method: Method::POST,
            ..get("/v1/snapshot", self.shared.options.max_reply_bytes)
        };
        let answer = self
            .call_one(endpoint, &call)
            .await
            .map_err(|failed| self.error_of(failed))?;
        answer::expect_ok(endpoint, answer)
    }

    /// The bytes of the module that runs.
    ///
    /// # Errors
    /// Where no node answers.
    pub async fn state_machine(&self) -> Result<Bytes, RequestError> {
        let call = get("/v1/state-machine", MAX_MODULE_BYTES);
        let (endpoint, answer) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        answer::expect_ok(&endpoint, answer)
    }

    /// A key that no other call of any client has.
    fn make_key(&self) -> String {
        let number = self.shared.next_key.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.shared.key_prefix)
    }

    /// Asks one node once.
    async fn call_one(
        &self,
        endpoint: &Endpoint,
        call: &HttpCall,
    ) -> Result<HttpReply, AttemptError> {
        attempts::attempt(
            &self.shared.transport,
            endpoint,
            call,
            self.shared.options.timeout,
        )
        .await
    }

    /// A failure of the one attempt that [`Self::call_one`] makes.
    fn error_of(&self, failed: AttemptError) -> RequestError {
        failed.into_error(self.shared.options.timeout)
    }

    /// Asks one node after the other until there is an answer that another attempt would not change.
    async fn call(
        &self,
        call: &HttpCall,
        limit: Duration,
        replay: Replay,
    ) -> Result<(Endpoint, HttpReply), RetriesExhausted> {
        attempts::call(&self.shared, call, Instant::now() + limit, limit, replay).await
    }
}

fn get(target: &'static str, max_reply_bytes: usize) -> HttpCall {
    HttpCall {
        method: Method::GET,
        target: target.into(),
        key: None,
        body: Bytes::new(),
        max_reply_bytes,
    }
}

#[cfg(test)]
mod tests;
