//! What an operator asks of a cluster. All of it says how the cluster is to be, so it is sent again where an answer is
//! lost.

use std::fmt::Write;

use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Client, answer};
use crate::error::RequestError;
use crate::retry::Replay;
use crate::status::MemberInfo;
use crate::transport::HttpCall;

/// A change of the members that is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersChanged {
    /// The entry by which it is in force, or a later one.
    pub index: u64,
    /// The members, as the node that was asked knows them; it may hear of the change a moment later.
    pub members: Vec<MemberInfo>,
}

/// Leadership that was transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadershipMoved {
    /// Who leads, as far as the node that was asked knows.
    pub leader_id: Option<String>,
    /// In which term.
    pub term: u64,
}

impl Client {
    /// Adds a node that its peers reach at `peer_addr`, as a learner, or as a voter once it has caught up.
    ///
    /// # Errors
    /// Where no node answers, or the leader refuses: the code says why, as in `change_under_way`.
    pub async fn add_member(
        &self,
        node_id: &str,
        peer_addr: &str,
        voter: bool,
    ) -> Result<MembersChanged, RequestError> {
        let body = json!({"node_id": node_id, "peer_addr": peer_addr, "voter": voter});
        self.order(Method::POST, "/v1/members".to_owned(), Some(body))
            .await
    }

    /// Puts the node `node_id` in the place of `old`, once it has caught up.
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
        self.order(Method::POST, "/v1/members".to_owned(), Some(body))
            .await
    }

    /// Gives a learner that has caught up a vote.
    ///
    /// # Errors
    /// As [`Client::add_member`]; `not_caught_up` says how far it is behind.
    pub async fn promote_member(&self, node_id: &str) -> Result<MembersChanged, RequestError> {
        let target = format!("/v1/members/{}/promote", encoded(node_id));
        self.order(Method::POST, target, None).await
    }

    /// Removes a node.
    ///
    /// # Errors
    /// As [`Client::add_member`].
    pub async fn remove_member(&self, node_id: &str) -> Result<MembersChanged, RequestError> {
        let target = format!("/v1/members/{}", encoded(node_id));
        self.order(Method::DELETE, target, None).await
    }

    /// Makes `to` the leader, or the most up-to-date other voter.
    ///
    /// # Errors
    /// Where no node answers, or the leader refuses or goes on: the code says why, as in `transfer_failed`.
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<LeadershipMoved, RequestError> {
        let body = json!({ "to": to });
        self.order(Method::POST, "/v1/leader/transfer".to_owned(), Some(body))
            .await
    }

    async fn order<T: DeserializeOwned>(
        &self,
        method: Method,
        target: String,
        body: Option<Value>,
    ) -> Result<T, RequestError> {
        let call = HttpCall {
            method,
            target: target.into(),
            key: None,
            body: body.map_or_else(Bytes::new, |body| body.to_string().into()),
            max_reply_bytes: self.shared.options.max_reply_bytes,
        };
        let (endpoint, answer) = self
            .call(&call, self.shared.options.timeout, Replay::Safe)
            .await
            .map_err(|error| error.error)?;
        answer::json(&endpoint, &answer::expect_ok(&endpoint, answer)?)
    }
}

/// A name as a part of a path (RFC 3986, section 2.1).
pub(super) fn encoded(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}
