//! Audits of the complete state, as processes: nodes that grew, restarted and restored a snapshot have the same digest.

use oarlock_tests::process::{Cluster, QUICK, eventually};
use serde_json::json;

/// Waits until all nodes have found that three voters agree after an entry later than `after`. Returns the entry.
async fn agreed(cluster: &Cluster, after: u64) -> u64 {
    let mut last = 0;
    for node in &cluster.nodes {
        last = eventually("three voters have the same complete state", async || {
            let audit = node.http().status().await?["audit"].clone();
            assert_eq!(audit["quarantined"], false, "{audit}");
            assert_eq!(audit["states"]["not_comparable"], json!([]), "{audit}");
            let index = audit["states"]["index"].as_u64()?;
            (index > after && audit["states"]["agreeing"] == 3).then_some(index)
        })
        .await;
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_different_pasts_have_the_same_complete_state() {
    let often = [
        "--state-audit-interval-ms",
        "300",
        "--snapshot-threshold",
        "30",
    ];
    let mut cluster = Cluster::start(3, "queue", &[&QUICK[..], &often].concat());
    let mut audited = 0;
    for round in 0..3 {
        for number in 0..40 {
            let task = json!({"enqueue": {"queue": format!("q{number}"), "payload": number}});
            cluster
                .apply_somewhere(&format!("{round}-{number}"), &task.to_string())
                .await;
        }
        audited = agreed(&cluster, audited).await;
        // From its snapshot and the entries after it.
        cluster.nodes[round].kill();
        cluster.nodes[round].start();
        cluster.leader().await;
    }
    let reserve =
        json!({"reserve": {"queues": ["q1", "q2"], "worker": "w", "lease_ms": 1000, "max": 10}});
    cluster.apply_somewhere("last", &reserve.to_string()).await;
    agreed(&cluster, audited).await;
}
