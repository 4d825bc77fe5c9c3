//! Clients that follow the events of the guest `flags`, and who writes these events.

use serde_json::json;
use tokio::task::JoinHandle;

use super::cluster::{Cluster, apply_somewhere, eventually};
use crate::http::Http;

/// Waits until a client follows the events of a running node. Returns the node's position.
pub async fn listened_node(cluster: &mut Cluster) -> usize {
    const GAUGE: &str = "oarlock_event_listeners ";
    let running = cluster.running();
    eventually("a client follows the events of a node", async || {
        for &at in &running {
            let page = cluster.nodes[at].http().get("/metrics").await.ok()?;
            let page = String::from_utf8_lossy(&page.body).into_owned();
            let value = page.lines().find_map(|line| line.strip_prefix(GAUGE));
            if value.is_some_and(|value| value.trim() != "0") {
                return Some(at);
            }
        }
        None
    })
    .await
}

/// The command that changes a flag.
pub fn set_flag(flag: &str, percent: u64) -> String {
    let rule = json!({"enabled": true, "users": [], "percent": percent});
    json!({"set": {"flag": flag, "rule": rule}}).to_string()
}

/// Changes flags with the versions `first` to `last`, one after the other, on whichever node takes the command. Each change is
/// applied once.
pub fn change_flags(targets: Vec<Http>, first: u64, last: u64) -> JoinHandle<()> {
    tokio::spawn(async move {
        for version in first..=last {
            let command = set_flag(&format!("flag-{}", version % 7), version % 100);
            let reply = apply_somewhere(&targets, &format!("change-{version}"), &command).await;
            assert_eq!(reply, json!({"version": version}));
        }
    })
}
