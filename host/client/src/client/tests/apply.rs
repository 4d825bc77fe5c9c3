use std::time::Duration;

use super::support::{NO_LEADER, SHORT, ScriptedNode, Turn, client, client_with, unreachable_node};
use crate::{
    ApplyError, ApplyOptions, ClientConfigError, ClientOptions, Key, KeyError, Protocol,
    RequestError,
};

const OK: Turn = Turn::Respond(200, "done");

fn without_key() -> ApplyOptions {
    ApplyOptions {
        idempotency_key: Key::None,
        ..ApplyOptions::default()
    }
}

#[tokio::test]
async fn a_command_returns_the_reply_and_the_index() {
    let node = ScriptedNode::start([OK]).await;
    let applied = client(&[&node.endpoint])
        .apply("a command", &ApplyOptions::default())
        .await
        .unwrap();
    assert_eq!((applied.index, &applied.reply[..]), (7, &b"done"[..]));
    let seen = &node.seen()[0];
    assert_eq!(
        (seen.line.as_str(), &seen.body[..]),
        ("POST /v1/apply", &b"a command"[..])
    );
    let timeout: u64 = seen.header("oarlock-timeout-ms").unwrap().parse().unwrap();
    assert!((1..10_000).contains(&timeout), "{timeout}");
}

#[tokio::test]
async fn every_command_has_its_own_key_and_keeps_it_in_retries() {
    let broken = ScriptedNode::start([Turn::Close]).await;
    let node = ScriptedNode::start([OK]).await;
    let client = client(&[&broken.endpoint, &node.endpoint]);
    client.apply("one", &ApplyOptions::default()).await.unwrap();
    client.apply("two", &ApplyOptions::default()).await.unwrap();
    let (first, second) = (broken.seen(), node.seen());
    let key = |seen: &super::support::Seen| seen.header("idempotency-key").unwrap().to_owned();
    assert_eq!(key(&first[0]), key(&second[0]));
    assert_eq!(first[0].body, second[0].body);
    assert_ne!(key(&second[0]), key(&second[1]));
    // The node that responded is tried first from now on.
    assert_eq!((first.len(), second.len()), (1, 2));
}

#[tokio::test]
async fn without_a_key_a_command_that_was_sent_is_not_retried() {
    let broken = ScriptedNode::start([Turn::Close]).await;
    let other = ScriptedNode::start([OK]).await;
    let error = client(&[&broken.endpoint, &other.endpoint])
        .apply("x", &without_key())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ApplyError::OutcomeUnknown { key: None, cause: RequestError::Broken { endpoint, .. } }
            if *endpoint == broken.endpoint),
        "{error:?}"
    );
    assert_eq!((broken.seen().len(), other.seen().len()), (1, 0));
    assert_eq!(broken.seen()[0].header("idempotency-key"), None);
}

/// What a proxy or another server responds.
const FOREIGN: [Turn; 3] = [
    Turn::Respond(502, "<html>bad gateway</html>"),
    Turn::Respond(404, "not here"),
    Turn::Respond(503, ""),
];

#[tokio::test]
async fn after_a_foreign_response_the_next_endpoint_is_tried() {
    for foreign in FOREIGN {
        let other = ScriptedNode::start([foreign]).await;
        let node = ScriptedNode::start([OK]).await;
        let applied = client(&[&other.endpoint, &node.endpoint])
            .apply("x", &ApplyOptions::default())
            .await;
        assert_eq!(applied.unwrap().index, 7);
        assert_eq!((other.seen().len(), node.seen().len()), (1, 1));
    }
}

#[tokio::test]
async fn where_only_foreign_servers_respond_the_error_names_each() {
    let servers = [
        ScriptedNode::start([Turn::Respond(502, "bad gateway")]).await,
        ScriptedNode::start([Turn::Respond(404, "not here")]).await,
    ];
    let options = ClientOptions {
        fail_fast: true,
        ..ClientOptions::default()
    };
    let endpoints = [&servers[0].endpoint, &servers[1].endpoint];
    let error = client_with(&endpoints, options)
        .apply("x", &ApplyOptions::default())
        .await
        .unwrap_err()
        .to_string();
    let addresses = endpoints.map(ToString::to_string);
    for text in [&addresses[0], "502", &addresses[1], "404", "proxy"] {
        assert!(error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn without_a_key_a_command_that_a_proxy_may_have_passed_on_is_not_sent_again() {
    let proxy = ScriptedNode::start([Turn::Respond(502, "bad gateway")]).await;
    let node = ScriptedNode::start([OK]).await;
    let error = client(&[&proxy.endpoint, &node.endpoint])
        .apply("x", &without_key())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ApplyError::OutcomeUnknown { key: None, .. }),
        "{error:?}"
    );
    assert_eq!(node.seen().len(), 0);
}

#[tokio::test]
async fn without_a_key_a_command_that_no_node_accepted_is_retried() {
    let (_socket, unreachable) = unreachable_node();
    let leaderless = ScriptedNode::start([NO_LEADER]).await;
    let busy = ScriptedNode::start([Turn::Respond(
        429,
        r#"{"error":{"code":"overloaded","message":"busy","hint":""}}"#,
    )])
    .await;
    let node = ScriptedNode::start([OK]).await;
    let client = client(&[
        &unreachable,
        &leaderless.endpoint,
        &busy.endpoint,
        &node.endpoint,
    ]);
    assert_eq!(
        client.apply("x", &without_key()).await.unwrap().reply,
        "done"
    );
}

#[tokio::test]
async fn a_node_that_is_stopping_leaves_the_outcome_unknown() {
    let stopping = ScriptedNode::start([Turn::Respond(
        503,
        r#"{"error":{"code":"stopping","message":"bye","hint":""}}"#,
    )])
    .await;
    let other = ScriptedNode::start([OK]).await;
    let client = client(&[&stopping.endpoint, &other.endpoint]);
    let error = client.apply("x", &without_key()).await.unwrap_err();
    assert!(
        matches!(error, ApplyError::OutcomeUnknown { .. }),
        "{error:?}"
    );
    assert_eq!(other.seen().len(), 0);
    // With a key, the other node may be tried.
    assert_eq!(
        client
            .apply("x", &ApplyOptions::default())
            .await
            .unwrap()
            .reply,
        "done"
    );
}

#[tokio::test]
async fn the_guests_refusal_is_returned_unchanged() {
    let node = ScriptedNode::start([Turn::WithoutIndex(422, "no such task")]).await;
    let error = client(&[&node.endpoint])
        .apply("x", &ApplyOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error, ApplyError::Refused("no such task".into()));
}

#[tokio::test]
async fn each_error_of_the_host_has_its_own_type() {
    let of = async |status, body| {
        let node = ScriptedNode::start([Turn::WithoutIndex(status, body)]).await;
        client(&[&node.endpoint])
            .apply("x", &ApplyOptions::default())
            .await
            .unwrap_err()
    };
    let error = of(
        500,
        r#"{"error":{"code":"trap","message":"unreachable","hint":"repair it"}}"#,
    )
    .await;
    assert_eq!(
        error,
        ApplyError::Failed {
            code: "trap".into(),
            message: "unreachable; repair it".into()
        }
    );
    let error = of(409, r#"{"error":{"code":"key_reused","message":"spent"}}"#).await;
    assert_eq!(
        error,
        ApplyError::KeyReused {
            message: "spent".into()
        }
    );
    let error = of(
        413,
        r#"{"error":{"code":"too_large","message":"over 10 bytes","hint":""}}"#,
    )
    .await;
    assert_eq!(
        error,
        ApplyError::NotApplied(RequestError::TooLarge {
            message: "over 10 bytes".into()
        })
    );
    let error = of(
        400,
        r#"{"error":{"code":"empty","message":"nothing there","hint":""}}"#,
    )
    .await;
    let invalid = RequestError::Invalid {
        status: 400,
        code: "empty".into(),
        message: "nothing there".into(),
    };
    assert_eq!(error, ApplyError::NotApplied(invalid));
    let error = of(404, "<html>").await;
    assert!(
        matches!(
            error,
            ApplyError::NotApplied(RequestError::Unreachable { .. })
        ),
        "{error:?}"
    );
    let error = of(
        500,
        r#"{"error":{"code":"internal","message":"?","hint":""}}"#,
    )
    .await;
    assert!(
        matches!(error, ApplyError::OutcomeUnknown { .. }),
        "{error:?}"
    );
    let error = of(200, "no index").await;
    assert!(
        matches!(
            error,
            ApplyError::OutcomeUnknown {
                cause: RequestError::Malformed { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_timeout_reports_an_unknown_outcome_and_the_key_for_a_retry() {
    let node = ScriptedNode::start([Turn::WithoutIndex(
        504,
        r#"{"error":{"code":"timeout","message":"gave up","hint":""}}"#,
    )])
    .await;
    let options = ApplyOptions {
        idempotency_key: Key::Given("order-7".into()),
        timeout: SHORT,
    };
    let error = client(&[&node.endpoint])
        .apply("x", &options)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ApplyError::OutcomeUnknown { key: Some(key), cause: RequestError::TimedOut { .. } }
            if key == "order-7"),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("outcome is unknown") && error.to_string().contains("order-7"),
        "{error}"
    );
    assert!(
        node.seen()
            .iter()
            .all(|seen| seen.header("idempotency-key") == Some("order-7"))
    );
}

#[tokio::test]
async fn a_node_that_hangs_leaves_time_for_another_node() {
    let silent = ScriptedNode::start([Turn::Silence]).await;
    let node = ScriptedNode::start([OK]).await;
    let options = ApplyOptions {
        timeout: Duration::from_secs(4),
        ..ApplyOptions::default()
    };
    let applied = client(&[&silent.endpoint, &node.endpoint])
        .apply("x", &options)
        .await
        .unwrap();
    assert_eq!(applied.reply, "done");
    assert_eq!(silent.seen().len(), 1);
}

#[tokio::test]
async fn the_timeout_ends_the_retries_and_the_last_error_is_returned() {
    let leaderless = ScriptedNode::start([NO_LEADER]).await;
    let options = ApplyOptions {
        timeout: SHORT,
        ..ApplyOptions::default()
    };
    let error = client(&[&leaderless.endpoint])
        .apply("x", &options)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ApplyError::NotApplied(RequestError::NoLeader { .. })),
        "{error:?}"
    );
    assert!(leaderless.seen().len() > 1);
}

#[tokio::test]
async fn after_one_attempt_that_was_sent_the_outcome_stays_unknown() {
    let node = ScriptedNode::start([Turn::Close, NO_LEADER]).await;
    let options = ApplyOptions {
        timeout: SHORT,
        ..ApplyOptions::default()
    };
    let error = client(&[&node.endpoint])
        .apply("x", &options)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ApplyError::OutcomeUnknown {
                cause: RequestError::Broken { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn if_no_node_is_reachable_the_error_lists_every_endpoint() {
    let ((_one, first), (_two, second)) = (unreachable_node(), unreachable_node());
    let patient = ApplyOptions {
        timeout: SHORT,
        ..ApplyOptions::default()
    };
    let forever = ApplyOptions {
        timeout: Duration::from_secs(3600),
        ..ApplyOptions::default()
    };
    let hasty = ClientOptions {
        fail_fast: true,
        ..ClientOptions::default()
    };
    let errors = [
        client(&[&first, &second])
            .apply("x", &patient)
            .await
            .unwrap_err(),
        client_with(&[&first, &second], hasty)
            .apply("x", &forever)
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert!(
            matches!(
                error,
                ApplyError::NotApplied(RequestError::Unreachable { .. })
            ),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains(first.as_str()) && text.contains(second.as_str()),
            "{text}"
        );
        assert!(
            text.contains("refused") && !text.contains("client error"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_reply_over_the_limit_is_an_error() {
    let node = ScriptedNode::start([Turn::Respond(200, "eleven byte")]).await;
    let small = ClientOptions {
        max_reply_bytes: 10,
        ..ClientOptions::default()
    };
    let error = client_with(&[&node.endpoint], small)
        .apply("x", &ApplyOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ApplyError::OutcomeUnknown {
                cause: RequestError::Malformed { .. },
                ..
            }
        ),
        "{error:?}"
    );
    // A retry would fail in the same way.
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn over_http2_many_commands_share_a_connection() {
    let node = ScriptedNode::start([OK]).await;
    let options = ClientOptions {
        protocol: Protocol::Http2,
        ..ClientOptions::default()
    };
    let client = client_with(&[&node.endpoint], options);
    let mut commands = tokio::task::JoinSet::new();
    for number in 0..20 {
        let client = client.clone();
        commands.spawn(async move {
            client
                .apply(format!("{number}"), &ApplyOptions::default())
                .await
        });
    }
    for applied in commands.join_all().await {
        assert_eq!(applied.unwrap().reply, "done");
    }
    assert_eq!(node.seen().len(), 20);
    assert!(node.seen().iter().all(|seen| seen.http2));
}

#[tokio::test]
async fn an_invalid_key_is_refused_before_anything_is_sent() {
    let node = ScriptedNode::start([OK]).await;
    let options = ApplyOptions {
        idempotency_key: Key::Given("two parts".into()),
        ..ApplyOptions::default()
    };
    let error = client(&[&node.endpoint])
        .apply("x", &options)
        .await
        .unwrap_err();
    assert_eq!(error, ApplyError::Key(KeyError::Byte(3)));
    assert_eq!(node.seen().len(), 0);
}

#[test]
fn a_client_needs_an_endpoint() {
    assert_eq!(
        crate::Client::new([]).unwrap_err(),
        ClientConfigError::NoEndpoints
    );
}

#[tokio::test]
async fn the_error_of_a_node_that_responded_wins_over_a_failed_connection() {
    let (_socket, unreachable) = unreachable_node();
    let leaderless = ScriptedNode::start([NO_LEADER]).await;
    let options = ApplyOptions {
        timeout: SHORT,
        ..ApplyOptions::default()
    };
    for endpoints in [
        [&unreachable, &leaderless.endpoint],
        [&leaderless.endpoint, &unreachable],
    ] {
        let error = client(&endpoints).apply("x", &options).await.unwrap_err();
        assert!(
            matches!(error, ApplyError::NotApplied(RequestError::NoLeader { .. })),
            "{error:?}"
        );
    }
}
