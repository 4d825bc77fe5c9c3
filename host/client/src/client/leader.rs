//! Finds the leader, so that requests need no forwarding.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;

use super::attempts::attempt;
use super::response;
use super::state::ClientState;
use crate::endpoint::Endpoint;
use crate::status::NodeInfo;
use crate::transport::HttpCall;

/// Timeout of the request. Without a response the node that responded last stays the first one.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks the node that has responded for the leader. If it is among the endpoints, later requests are sent to it first.
pub(super) async fn find(shared: &ClientState, responded: &Endpoint) {
    let call = HttpCall {
        method: Method::GET,
        target: "/v1/status".into(),
        key: None,
        content_type: None,
        body: Bytes::new(),
        max_reply_bytes: shared.options.max_reply_bytes,
    };
    let Ok(reply) = attempt(&shared.transport, responded, &call, LIMIT).await else {
        return;
    };
    let status = response::expect_ok(responded, reply)
        .and_then(|body| response::json::<NodeInfo>(responded, &body));
    let Some(leader) = status.ok().and_then(|status| address_of_leader(&status)) else {
        return;
    };
    let is_leader = |endpoint: &Endpoint| endpoint.as_str() == leader;
    if let Some(position) = shared.endpoints.iter().position(is_leader) {
        shared.preferred.store(position, Ordering::Relaxed);
    }
}

fn address_of_leader(status: &NodeInfo) -> Option<String> {
    let leader = status.leader_id.as_ref()?;
    let member = status
        .members
        .iter()
        .find(|member| member.node_id == *leader)?;
    member.client_addr.clone()
}
