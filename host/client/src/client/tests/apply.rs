use std::time::Duration;

use super::support::{NO_LEADER, SHORT, ScriptedNode, Turn, client, client_with, nobody};
use crate::{
    ApplyError, ApplyOptions, ClientConfigError, ClientOptions, Key, KeyError, Protocol,
    RequestError,
};

const OK: Turn = Turn::Answer(200, "done");

fn without_key() -> ApplyOptions {
    ApplyOptions {
        idempotency_key: Key::None,
        ..ApplyOptions::default()
    }
}

#[tokio::test]
async fn a_command_gets_the_reply_and_the_index() {
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
    let told: u64 = seen.header("oarlock-timeout-ms").unwrap().parse().unwrap();
    assert!((1..10_000).contains(&told), "{told}");
}

#[tokio::test]
async fn every_command_has_a_key_of_its_own_and_keeps_it_when_it_is_sent_again() {
    let broken = ScriptedNode::start([Turn::Close]).await;
    let node = ScriptedNode::start([OK]).await;
    let client = client(&[&broken.endpoint, &node.endpoint]);
    client.apply("one", &ApplyOptions::default()).await.unwrap();
    client.apply("two", &ApplyOptions::default()).await.unwrap();
    let (first, answered) = (broken.seen(), node.seen());
    let key = |seen: &super::support::Seen| seen.header("idempotency-key").unwrap().to_owned();
    assert_eq!(key(&first[0]), key(&answered[0]));
    assert_eq!(first[0].body, answered[0].body);
    assert_ne!(key(&answered[0]), key(&answered[1]));
    // The node that answered is asked first from then on.
    assert_eq!((first.len(), answered.len()), (1, 2));
}

#[tokio::test]
async fn without_a_key_a_command_that_was_sent_is_not_sent_again() {
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

#[tokio::test]
async fn without_a_key_a_command_that_no_node_took_is_sent_elsewhere() {
    let (_socket, nobody) = nobody();
    let leaderless = ScriptedNode::start([NO_LEADER]).await;
    let busy = ScriptedNode::start([Turn::Answer(
        429,
        r#"{"error":{"code":"overloaded","message":"busy","hint":""}}"#,
    )])
    .await;
    let node = ScriptedNode::start([OK]).await;
    let client = client(&[
        &nobody,
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
async fn a_node_that_stops_leaves_the_outcome_unknown() {
    let stopping = ScriptedNode::start([Turn::Answer(
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
    // Under a key, the other node may be asked.
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
async fn the_guests_refusal_comes_back_as_its_bytes() {
    let node = ScriptedNode::start([Turn::Bare(422, "no such task")]).await;
    let error = client(&[&node.endpoint])
        .apply("x", &ApplyOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error, ApplyError::Refused("no such task".into()));
}

#[tokio::test]
async fn each_error_of_the_host_has_its_own_type() {
    let of = async |status, body| {
        let node = ScriptedNode::start([Turn::Bare(status, body)]).await;
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
            ApplyError::NotApplied(RequestError::Malformed { .. })
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
async fn a_timeout_says_that_the_outcome_is_unknown_and_under_which_key_to_ask_again() {
    let node = ScriptedNode::start([Turn::Bare(
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
async fn a_silent_node_leaves_time_for_another_one() {
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
async fn the_deadline_ends_it_and_the_last_reason_is_told() {
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
async fn one_attempt_that_was_sent_keeps_the_outcome_unknown_to_the_end() {
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
async fn where_nobody_listens_every_endpoint_is_named() {
    let ((_one, first), (_two, second)) = (nobody(), nobody());
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
async fn a_reply_over_the_limit_is_not_taken() {
    let node = ScriptedNode::start([Turn::Answer(200, "eleven byte")]).await;
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
    // Asking again would give the same.
    assert_eq!(node.seen().len(), 1);
}

#[tokio::test]
async fn over_http2_many_commands_share_the_way() {
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
async fn a_key_that_cannot_be_sent_is_refused_at_once() {
    let node = ScriptedNode::start([OK]).await;
    let options = ApplyOptions {
        idempotency_key: Key::Given("two words".into()),
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
fn a_client_without_endpoints_is_refused() {
    assert_eq!(
        crate::Client::new([]).unwrap_err(),
        ClientConfigError::NoEndpoints
    );
}

#[tokio::test]
async fn a_node_that_answered_says_more_than_one_that_is_not_there() {
    let (_socket, nobody) = nobody();
    let leaderless = ScriptedNode::start([NO_LEADER]).await;
    let options = ApplyOptions {
        timeout: SHORT,
        ..ApplyOptions::default()
    };
    for endpoints in [
        [&nobody, &leaderless.endpoint],
        [&leaderless.endpoint, &nobody],
    ] {
        let error = client(&endpoints).apply("x", &options).await.unwrap_err();
        assert!(
            matches!(error, ApplyError::NotApplied(RequestError::NoLeader { .. })),
            "{error:?}"
        );
    }
}
