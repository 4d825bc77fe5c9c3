//! Queries that wait for an entry, and the schema of the guest.

use super::support::{Guest, Running};

const GET: &str = r#"{"get":{}}"#;

#[tokio::test]
async fn a_query_waits_for_an_entry_after_its_index() {
    let running = Running::start(Guest::Counter).await;
    let client = &running.client;
    client.apply(r#"{"add":{"by":5}}"#).await;
    let now = client.send("POST", "/v1/query", &[], GET).await;
    let index = now.header("oarlock-index").to_owned();
    // Earlier entries are there already.
    let earlier = client
        .send("POST", "/v1/query?wait_index=0", &[], GET)
        .await;
    assert_eq!(
        (earlier.status.as_u16(), earlier.json()),
        (200, serde_json::json!({"value": 5}))
    );

    let path = format!("/v1/query?wait_index={index}");
    let waiting = client.send("POST", &path, &[("oarlock-timeout-ms", "60000")], GET);
    let adding = async {
        // An audit may end the wait before this command, and then the value is still the first one.
        client.apply(r#"{"add":{"by":2}}"#).await
    };
    let (later, _) = tokio::join!(waiting, adding);
    assert_eq!(later.status, 200);
    let later_index: u64 = later.header("oarlock-index").parse().expect("an index");
    assert!(later_index > index.parse().expect("an index"), "{later:?}");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_query_that_waited_in_vain_reads_the_current_state() {
    let running = Running::start(Guest::Counter).await;
    let headers = [("oarlock-timeout-ms", "400")];
    let path = "/v1/query?consistency=stale&wait_index=1000000";
    let unchanged = running.client.send("POST", path, &headers, GET).await;
    assert_eq!(unchanged.json(), serde_json::json!({"value": 0}));
    let refused = running
        .client
        .send("POST", "/v1/query?wait_index=x", &[], GET)
        .await;
    assert_eq!(refused.json()["error"]["code"], "malformed");
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_schema_of_the_guest_is_served() {
    let running = Running::start(Guest::Counter).await;
    let schema = running.client.get("/v1/schema").await;
    assert_eq!(
        (schema.status.as_u16(), schema.header("content-type")),
        (200, "application/schema+json")
    );
    let text = std::str::from_utf8(&schema.body).expect("UTF-8");
    let messages = crate::schema::parse(text).expect("a valid schema");
    assert_eq!(
        (messages.title.as_str(), messages.commands.len()),
        ("counter", 1)
    );
    running.node.shutdown().await;

    let running = Running::start(Guest::Faulty).await;
    let missing = running.client.get("/v1/schema").await;
    missing.assert_error(404, "no_schema");
    running.node.shutdown().await;
}
