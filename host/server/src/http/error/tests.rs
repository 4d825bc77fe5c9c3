//! Status and code of each error.

use axum::body::to_bytes;

use super::*;

#[test]
fn each_submit_error_has_its_status_and_code() {
    let leader = Some("node2".into());
    for (error, status, code) in [
        (SubmitError::NotLeader { leader }, 503, "no_leader"),
        (SubmitError::NoLeader, 503, "no_leader"),
        (SubmitError::Overloaded { what: "x" }, 429, "overloaded"),
        (SubmitError::DiskFull, 507, "disk_full"),
        (SubmitError::TimedOut, 504, "timeout"),
        (SubmitError::OutcomeLost, 504, "timeout"),
        (SubmitError::Stopped, 504, "timeout"),
    ] {
        let api = ApiError::of_command(&error);
        assert_eq!(
            (api.status().as_u16(), api.code()),
            (status, code),
            "{error}"
        );
        let api = ApiError::of_query(&error);
        assert_eq!(
            (api.status().as_u16(), api.code()),
            (status, code),
            "{error}"
        );
    }
}

#[test]
fn the_outcome_is_unknown_after_the_timeout_of_a_command_but_not_of_a_query() {
    assert!(
        ApiError::of_command(&SubmitError::TimedOut)
            .message
            .contains("unknown")
    );
    assert!(
        ApiError::of_command(&SubmitError::Stopped)
            .message
            .contains("unknown")
    );
    assert!(
        ApiError::of_query(&SubmitError::TimedOut)
            .message
            .contains("nothing was changed")
    );
}

#[test]
fn each_guest_failure_has_its_code() {
    let trap = GuestFailure::Trap {
        message: "unreachable".to_owned(),
    };
    for (failure, status, code) in [
        (trap, 500, "trap"),
        (GuestFailure::OutOfFuel, 500, "out_of_fuel"),
        (GuestFailure::OutOfMemory, 500, "out_of_memory"),
        (GuestFailure::StateFull, 507, "state_full"),
    ] {
        assert_eq!(failure.code(), code);
        let api = ApiError::guest_failed(&failure);
        assert_eq!((api.status().as_u16(), api.code()), (status, code));
        assert!(api.hint.contains("nothing was changed"));
    }
}

#[tokio::test]
async fn an_error_is_json_with_code_message_and_hint() {
    let response = ApiError::too_large(1000, SMALLER_COMMAND).into_response();
    assert_eq!(response.status(), 413);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let body = to_bytes(response.into_body(), 10_000)
        .await
        .expect("a body");
    let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(json["error"]["code"], "too_large");
    assert!(
        json["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("1000"))
    );
    assert!(
        json["error"]["hint"]
            .as_str()
            .is_some_and(|hint| !hint.is_empty())
    );
}

#[test]
fn errors_that_are_worth_a_retry_have_the_header_retry_after() {
    for error in [
        ApiError::no_leader(),
        ApiError::not_ready(),
        ApiError::overloaded("x"),
    ] {
        assert_eq!(error.into_response().headers()[RETRY_AFTER], "1");
    }
    assert!(
        !ApiError::key_reused()
            .into_response()
            .headers()
            .contains_key(RETRY_AFTER)
    );
}

#[test]
fn a_long_path_is_shortened() {
    let error = ApiError::not_found(&"/x".repeat(5000));
    assert!(error.message.len() < 300, "{}", error.message.len());
}
