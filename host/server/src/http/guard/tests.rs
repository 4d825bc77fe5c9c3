use super::*;

#[test]
fn an_origin_is_the_same_if_host_and_port_are() {
    for (origin, host, same) in [
        ("http://127.0.0.1:8101", "127.0.0.1:8101", true),
        ("https://oarlock.example", "oarlock.example", true),
        ("https://oarlock.example", "Oarlock.example:443", true),
        ("http://oarlock.example:80", "oarlock.example", true),
        ("http://127.0.0.1:3000", "127.0.0.1:8101", false),
        ("http://localhost:8101", "127.0.0.1:8101", false),
        ("http://evil.example", "127.0.0.1:8101", false),
        ("null", "127.0.0.1:8101", false),
        ("file://", "", false),
        ("chrome-extension://abc", "abc", false),
    ] {
        assert_eq!(
            is_same_host(origin.as_bytes(), host.as_bytes()),
            same,
            "{origin} {host}"
        );
    }
    assert!(!is_same_host(b"http://\xff", b"\xff"));
}

#[test]
fn only_the_content_type_of_json_counts_as_json() {
    for (content_type, json) in [
        (Some("application/json"), true),
        (Some("Application/JSON; charset=utf-8"), true),
        (None, false),
        (Some("text/plain"), false),
        (Some("application/x-www-form-urlencoded"), false),
        (Some("multipart/form-data; boundary=a"), false),
        (Some("text/plain; application/json"), false),
        (Some("application/jsonp"), false),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, value.parse().expect("a value"));
        }
        let checked = check_is_json(&headers);
        assert_eq!(checked.is_ok(), json, "{content_type:?}");
        if let Err(error) = checked {
            assert_eq!(error.code(), "unsupported_media_type");
        }
    }
}
