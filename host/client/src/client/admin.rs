//! Requests of an operator. Each states the wanted configuration, so it is safe to send it again after a lost response.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Client, response};
use crate::audit::AuditInfo;
use crate::error::RequestError;
use crate::operations::OperationHistory;
use crate::retry::Replay;
use crate::settings::ClusterSettings;
use crate::status::{LeadershipMoved, MembersChanged};
use crate::transport::{HttpCall, percent_encoded};

impl Client {
    /// Adds a node as a learner, or, with `voter`, as a voter once it has caught up. `peer_addr`: `host:port` for its
    /// peers.
    ///
    /// # Errors
    /// No node responds, or the leader refuses the change: see the code of [`RequestError::Invalid`], such as
    /// `change_under_way`.
    pub async fn add_member(
        &self,
        node_id: &str,
        peer_addr: &str,
        voter: bool,
    ) -> Result<MembersChanged, RequestError> {
        let body = json!({"node_id": node_id, "peer_addr": peer_addr, "voter": voter});
        self.admin_request(Method::POST, "/v1/members".to_owned(), Some(body))
            .await
    }

    /// Replaces the node `old` by the node `node_id` in one change, once the new node has caught up.
    ///
    /// # Errors
    /// As [`Client::add_member`].
    pub async fn replace_member(
        &self,
        old: &str,
        node_id: &str,
        peer_addr: &str,
    ) -> Result<MembersChanged, RequestError> {
        let body = json!({"node_id": node_id, "peer_addr": peer_addr, "replaces": old});
        self.admin_request(Method::POST, "/v1/members".to_owned(), Some(body))
            .await
    }

    /// Makes a learner that has caught up a voter.
    ///
    /// # Errors
    /// As [`Client::add_member`]. Code `not_caught_up`: the message contains the lag.
    pub async fn promote_member(&self, node_id: &str) -> Result<MembersChanged, RequestError> {
        let target = format!("/v1/members/{}/promote", percent_encoded(node_id));
        self.admin_request(Method::POST, target, None).await
    }

    /// Removes a node.
    ///
    /// # Errors
    /// As [`Client::add_member`].
    pub async fn remove_member(&self, node_id: &str) -> Result<MembersChanged, RequestError> {
        let target = format!("/v1/members/{}", percent_encoded(node_id));
        self.admin_request(Method::DELETE, target, None).await
    }

    /// Transfers leadership to `to`. `None`: to the voter with the most up-to-date log.
    ///
    /// # Errors
    /// No node responds, or leadership did not move: code `transfer_failed`, for example.
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<LeadershipMoved, RequestError> {
        let body = json!({ "to": to });
        self.admin_request(Method::POST, "/v1/leader/transfer".to_owned(), Some(body))
            .await
    }

    /// The replicated settings of the cluster.
    ///
    /// # Errors
    /// No node responds.
    pub async fn settings(&self) -> Result<ClusterSettings, RequestError> {
        self.admin_request(Method::GET, "/v1/settings".to_owned(), None)
            .await
    }

    /// Changes replicated settings: all of them or none. `by`: who requests it, for the logs of the nodes.
    ///
    /// # Errors
    /// No node responds, or the change is refused: code `setting_refused` or `level_too_low`, for example.
    pub async fn set_settings(
        &self,
        values: &BTreeMap<String, u64>,
        by: &str,
    ) -> Result<ClusterSettings, RequestError> {
        let body = json!({"set": values, "by": by});
        self.admin_request(Method::POST, "/v1/settings".to_owned(), Some(body))
            .await
    }

    /// Raises the level of the cluster to the highest that its nodes support. A level is never lowered.
    ///
    /// # Errors
    /// No node responds, or the leader refuses: a member does not support the level, for example.
    pub async fn raise_level(&self) -> Result<ClusterSettings, RequestError> {
        let target = "/v1/settings/raise-level".to_owned();
        self.admin_request(Method::POST, target, None).await
    }

    /// The latest comparison of the nodes' states.
    ///
    /// # Errors
    /// No node responds.
    pub async fn audit(&self) -> Result<AuditInfo, RequestError> {
        self.admin_request(Method::GET, "/v1/audit".to_owned(), None)
            .await
    }

    /// Accepts the state of a node as the right one, where no majority agrees. `by`: who decides it, for the logs.
    ///
    /// # Errors
    /// No node responds, or the node refuses: code `states_agree`, for example.
    pub async fn accept_state(&self, node: &str, by: &str) -> Result<AuditInfo, RequestError> {
        let body = json!({"node": node, "by": by});
        self.admin_request(Method::POST, "/v1/audit/accept".to_owned(), Some(body))
            .await
    }

    /// What operators and upgraders did last, as one node knows it.
    ///
    /// # Errors
    /// No node responds, or the client is no operator.
    pub async fn operations(&self) -> Result<OperationHistory, RequestError> {
        self.admin_request(Method::GET, "/v1/operations".to_owned(), None)
            .await
    }

    async fn admin_request<T: DeserializeOwned>(
        &self,
        method: Method,
        target: String,
        body: Option<Value>,
    ) -> Result<T, RequestError> {
        let call = HttpCall {
            method,
            target: target.into(),
            key: None,
            content_type: body.is_some().then_some("application/json"),
            body: body.map_or_else(Bytes::new, |body| body.to_string().into()),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        let (endpoint, reply) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        response::json(&endpoint, &response::expect_ok(&endpoint, reply)?)
    }
}
