use std::collections::BTreeMap;

use oarlock_wasm::Sha256;

use super::*;

/// An audit for which the nodes have reported these states.
fn audit(reports: &[(&str, &str)]) -> Audit {
    let reports = reports
        .iter()
        .map(|(node, text)| ((*node).to_owned(), Sha256::of(text.as_bytes())));
    Audit {
        requested_at: Some(Index(7)),
        own: Some(Sha256::of(b"s")),
        reports: BTreeMap::from_iter(reports),
        ..Audit::default()
    }
}

#[tokio::test]
async fn wake_ups_wait_until_commands_are_accepted() {
    let voters = ["node1", "node2", "node3"].map(NodeId::from);
    let auditor = Auditor::default();
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    auditor.evaluate(&audit(&all), &voters, "node1");
    let waiting = tokio::spawn({
        let auditor = auditor.clone();
        async move { auditor.writes_accepted().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let agreed = [("node1", "s"), ("node2", "s")];
    auditor.evaluate(&audit(&agreed), &voters, "node1");
    waiting.await.unwrap();
}
