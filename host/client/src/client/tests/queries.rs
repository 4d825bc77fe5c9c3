use super::support::{ScriptedNode, Turn, client, unreachable_node};
use crate::{QueryError, QueryOptions, ReadConsistency, RequestError};

#[tokio::test]
async fn the_consistency_of_a_query_is_sent() {
    let node = ScriptedNode::start([Turn::Respond(200, "42")]).await;
    let client = client(&[&node.endpoint]);
    let result = client
        .query("what?", &QueryOptions::default())
        .await
        .unwrap();
    assert_eq!((result.index, &result.response[..]), (7, &b"42"[..]));
    let stale = QueryOptions {
        consistency: ReadConsistency::Stale,
        ..QueryOptions::default()
    };
    client.query("what?", &stale).await.unwrap();
    let lines: Vec<_> = node.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(
        lines,
        [
            "POST /v1/query?consistency=linearizable",
            "POST /v1/query?consistency=stale"
        ]
    );
}

#[tokio::test]
async fn a_query_is_retried_on_another_node_if_the_connection_breaks() {
    let (_socket, unreachable) = unreachable_node();
    let broken = ScriptedNode::start([Turn::Close]).await;
    let node = ScriptedNode::start([Turn::Respond(200, "42")]).await;
    let client = client(&[&unreachable, &broken.endpoint, &node.endpoint]);
    assert_eq!(
        client
            .query("what?", &QueryOptions::default())
            .await
            .unwrap()
            .response,
        "42"
    );
}

#[tokio::test]
async fn rejections_failures_and_bad_requests_have_their_own_errors() {
    let of = async |status, body| {
        let node = ScriptedNode::start([Turn::WithoutIndex(status, body)]).await;
        client(&[&node.endpoint])
            .query("what?", &QueryOptions::default())
            .await
            .unwrap_err()
    };
    assert_eq!(
        of(422, "no such key").await,
        QueryError::Refused("no such key".into())
    );
    for (status, code) in [(500, "out_of_fuel"), (507, "state_full")] {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"too much","hint":""}}}}"#);
        assert_eq!(
            of(status, body.leak()).await,
            QueryError::Failed {
                code: code.into(),
                message: "too much".into()
            }
        );
    }
    let error = of(400, r#"{"error":{"code":"bad","message":"no","hint":""}}"#).await;
    assert!(
        matches!(
            error,
            QueryError::Request(RequestError::Invalid { status: 400, .. })
        ),
        "{error:?}"
    );
    let error = of(200, "without an index").await;
    assert!(
        matches!(error, QueryError::Request(RequestError::Malformed { .. })),
        "{error:?}"
    );
}
