//! The client: which request each operation sends, and how it reads the response.

mod admin;
mod attempts;
pub(crate) mod backup;
pub(crate) mod entries;
pub(crate) mod events;
mod leader;
pub(crate) mod logs;
pub(crate) mod response;
mod state;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::{ApplyError, ClientConfigError, QueryError, RequestError};
use crate::options::{ApplyOptions, ClientOptions, Key, QueryOptions, key_header};
use crate::retry::Replay;
use crate::status::NodeInfo;
use crate::transport::{HttpCall, HttpReply};
use attempts::{AttemptError, RetriesExhausted};
use response::{ApplyResponse, QueryResponse};
use state::ClientState;

/// Largest module that [`Client::state_machine`] accepts, in bytes.
const MAX_MODULE_BYTES: usize = 256 << 20;

/// A client of one cluster. Cheap to clone; clones share connections. It needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<ClientState>,
}

impl Client {
    /// A client with the default options. One endpoint is enough; give all of them to survive the loss of some nodes.
    ///
    /// # Errors
    /// There is no endpoint.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Result<Self, ClientConfigError> {
        Self::with_options(endpoints, ClientOptions::default())
    }

    /// A client with options.
    ///
    /// # Errors
    /// There is no endpoint.
    pub fn with_options(
        endpoints: impl IntoIterator<Item = Endpoint>,
        options: ClientOptions,
    ) -> Result<Self, ClientConfigError> {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        if endpoints.is_empty() {
            return Err(ClientConfigError::NoEndpoints);
        }
        Ok(Self {
            shared: Arc::new(ClientState::new(endpoints, options)),
        })
    }

    /// A new idempotency key, unique over all clients. For a command that is sent again after its outcome stayed unknown.
    #[must_use]
    pub fn new_key(&self) -> String {
        self.shared.make_key()
    }

    /// The endpoints, in the order given.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.shared.endpoints
    }

    /// Applies a command and returns the guest's reply.
    ///
    /// Tries other nodes until the timeout. It never sends a command again if that could apply it twice: see the
    /// [crate's page](crate).
    ///
    /// # Errors
    /// See [`ApplyError`]: each variant states whether the command was applied.
    pub async fn apply(
        &self,
        command: impl Into<Bytes>,
        options: &ApplyOptions,
    ) -> Result<ApplyResponse, ApplyError> {
        let key = match &options.idempotency_key {
            Key::Automatic => Some(self.shared.make_key()),
            Key::Given(key) => Some(key.clone()),
            Key::None => None,
        };
        let call = HttpCall {
            method: Method::POST,
            target: "/v1/apply".into(),
            key: key.as_deref().map(key_header).transpose()?,
            content_type: None,
            body: command.into(),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        let replay = if key.is_some() {
            Replay::Safe
        } else {
            Replay::OnlyUnsent
        };
        match self.call(&call, options.timeout, replay).await {
            Ok((endpoint, reply)) => response::of_apply(&endpoint, reply, key),
            Err(RetriesExhausted { error, doubt }) => Err(match doubt {
                Some(cause) => ApplyError::OutcomeUnknown { key, cause },
                None => ApplyError::NotApplied(error),
            }),
        }
    }

    /// Sends a query and returns the guest's response.
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
            target: format!("/v1/query?consistency={}", options.consistency.name()).into(),
            key: None,
            content_type: None,
            body: query.into(),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        let (endpoint, reply) = self
            .call(&call, options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::of_query(&endpoint, reply)
    }

    /// Sends a query that the node holds back until it has applied an entry after `index`, or until a part of the timeout
    /// is over. So the response may be that of the same state.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query_after(
        &self,
        query: impl Into<Bytes>,
        index: u64,
        options: &QueryOptions,
    ) -> Result<QueryResponse, QueryError> {
        let consistency = options.consistency.name();
        let call = HttpCall {
            method: Method::POST,
            target: format!("/v1/query?consistency={consistency}&wait_index={index}").into(),
            key: None,
            content_type: None,
            body: query.into(),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        let (endpoint, reply) = self
            .call(&call, options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::of_query(&endpoint, reply)
    }

    /// The status of the first node that responds.
    ///
    /// # Errors
    /// No node responds.
    pub async fn status(&self) -> Result<NodeInfo, RequestError> {
        let call = get("/v1/status", self.shared.options.max_reply_bytes);
        let (endpoint, reply) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::json(&endpoint, &response::expect_ok(&endpoint, reply)?)
    }

    /// The status of the node at `endpoint`, in one attempt.
    ///
    /// # Errors
    /// The node does not respond.
    pub async fn status_of(&self, endpoint: &Endpoint) -> Result<NodeInfo, RequestError> {
        let call = get("/v1/status", self.shared.options.max_reply_bytes);
        let reply = self
            .call_one(endpoint, &call)
            .await
            .map_err(|failed| self.error_of(failed))?;
        response::json(endpoint, &response::expect_ok(endpoint, reply)?)
    }

    /// What is wrong with the node at `endpoint`, and its facts (`GET /v1/doctor`), in one attempt: a JSON document.
    ///
    /// # Errors
    /// The node does not respond, or it is of a release without this route.
    pub async fn doctor_of(&self, endpoint: &Endpoint) -> Result<Bytes, RequestError> {
        let call = get("/v1/doctor", self.shared.options.max_reply_bytes);
        let reply = self
            .call_one(endpoint, &call)
            .await
            .map_err(|failed| self.error_of(failed))?;
        response::expect_ok(endpoint, reply)
    }

    /// The metrics of the node at `endpoint` (`GET /metrics`), in one attempt: the text format of Prometheus.
    ///
    /// # Errors
    /// The node does not respond, or the client has not the role `monitor`.
    pub async fn metrics_of(&self, endpoint: &Endpoint) -> Result<Bytes, RequestError> {
        let call = get("/metrics", self.shared.options.max_reply_bytes);
        let reply = self
            .call_one(endpoint, &call)
            .await
            .map_err(|failed| self.error_of(failed))?;
        response::expect_ok(endpoint, reply)
    }

    /// The status of every node, requested concurrently, in the order of the endpoints.
    pub async fn status_of_all(&self) -> Vec<(Endpoint, Result<NodeInfo, RequestError>)> {
        let mut requests = JoinSet::new();
        for (position, endpoint) in self.shared.endpoints.iter().enumerate() {
            let (client, endpoint) = (self.clone(), endpoint.clone());
            requests.spawn(async move { (position, client.status_of(&endpoint).await) });
        }
        let mut statuses = requests.join_all().await;
        statuses.sort_by_key(|(position, _)| *position);
        self.shared
            .endpoints
            .iter()
            .cloned()
            .zip(statuses.into_iter().map(|(_, status)| status))
            .collect()
    }

    /// Whether the node at `endpoint` has a leader and has caught up (`GET /readyz`), in one attempt.
    ///
    /// # Errors
    /// The node does not respond.
    pub async fn is_ready(&self, endpoint: &Endpoint) -> Result<bool, RequestError> {
        match self
            .call_one(
                endpoint,
                &get("/readyz", self.shared.options.max_reply_bytes),
            )
            .await
        {
            Ok(reply) => Ok(reply.status == StatusCode::OK),
            // A node that is not ready responds 503, with any code or none.
            Err(
                AttemptError::Declined { .. }
                | AttemptError::Unclear(..)
                | AttemptError::Foreign(_, StatusCode::SERVICE_UNAVAILABLE),
            ) => Ok(false),
            Err(failed) => Err(self.error_of(failed)),
        }
    }

    /// Finds the leader and sends later requests to it first, which saves the forwarding by a follower.
    /// Returns the leader's endpoint, or `None` if the leader is not among the endpoints.
    pub async fn prefer_leader(&self) -> Option<Endpoint> {
        let statuses = self.status_of_all().await;
        let leads =
            |status: &NodeInfo| status.leader_id.as_deref() == Some(status.node_id.as_str());
        // A partitioned leader reports itself as the leader until its lease ends: the highest term decides.
        let leader = statuses
            .into_iter()
            .enumerate()
            .filter_map(|(position, (endpoint, status))| {
                Some((position, endpoint, status.ok().filter(leads)?))
            })
            .max_by_key(|(_, _, status)| status.term)?;
        self.shared.preferred.store(leader.0, Ordering::Relaxed);
        Some(leader.1)
    }

    /// Takes a snapshot on the node at `endpoint` and returns the node's response: JSON.
    ///
    /// # Errors
    /// The node does not respond, or the snapshot failed.
    pub async fn snapshot(&self, endpoint: &Endpoint) -> Result<Bytes, RequestError> {
        let call = HttpCall {
            method: Method::POST,
            ..get("/v1/snapshot", self.shared.options.max_reply_bytes)
        };
        let reply = self
            .call_one(endpoint, &call)
            .await
            .map_err(|failed| self.error_of(failed))?;
        response::expect_ok(endpoint, reply)
    }

    /// The schema of the guest's messages: a JSON document.
    ///
    /// # Errors
    /// No node responds, or the guest has no schema: code `no_schema`.
    pub async fn schema(&self) -> Result<Bytes, RequestError> {
        let call = get("/v1/schema", self.shared.options.max_reply_bytes);
        let (endpoint, reply) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::expect_ok(&endpoint, reply)
    }

    /// The bytes of the active module.
    ///
    /// # Errors
    /// No node responds.
    pub async fn state_machine(&self) -> Result<Bytes, RequestError> {
        let call = get("/v1/state-machine", MAX_MODULE_BYTES);
        let (endpoint, reply) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::expect_ok(&endpoint, reply)
    }

    /// Sends one request to one node.
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

    /// The error of a failed [`Self::call_one`].
    fn error_of(&self, failed: AttemptError) -> RequestError {
        failed.into_error(self.shared.options.timeout)
    }

    /// Sends a request to one node after the other, until a response is final or `limit` is over.
    async fn call(
        &self,
        call: &HttpCall,
        limit: Duration,
        replay: Replay,
    ) -> Result<(Endpoint, HttpReply), RetriesExhausted> {
        let deadline = Instant::now() + limit;
        let (endpoint, reply) = attempts::call(&self.shared, call, deadline, limit, replay).await?;
        self.follow_leader(&endpoint);
        Ok((endpoint, reply))
    }

    /// Looks up the leader in the background, once after the first response and once after each failure.
    fn follow_leader(&self, responded: &Endpoint) {
        let shared = &self.shared;
        let is_needed = shared.options.follow_leader && shared.endpoints.len() > 1;
        if !is_needed || shared.follows_leader.swap(true, Ordering::Relaxed) {
            return;
        }
        let (shared, responded) = (Arc::clone(shared), responded.clone());
        tokio::spawn(async move { leader::find(&shared, &responded).await });
    }
}

fn get(target: &'static str, max_reply_bytes: usize) -> HttpCall {
    HttpCall {
        method: Method::GET,
        target: target.into(),
        key: None,
        content_type: None,
        body: Bytes::new(),
        max_reply_bytes,
    }
}

#[cfg(test)]
pub(crate) mod tests;
