//! Headers and bodies at their limits.

use hyper::body::Frame;

use super::*;

fn headers(name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value).expect("a header"));
    }
    headers
}

#[test]
fn a_timeout_is_an_integer_from_1_to_600000() {
    assert_eq!(timeout(&HeaderMap::new()), Ok(Duration::from_secs(10)));
    assert_eq!(
        timeout(&headers(&TIMEOUT, &[b"1"])),
        Ok(Duration::from_millis(1))
    );
    assert_eq!(
        timeout(&headers(&TIMEOUT, &[b"600000"])),
        Ok(Duration::from_secs(600))
    );
    for wrong in [
        &b"0"[..],
        b"600001",
        b"-1",
        b"+1",
        b"1.5",
        b"soon",
        b"",
        b"\xff",
        b"99999999999999999999",
    ] {
        assert_eq!(
            timeout(&headers(&TIMEOUT, &[wrong]))
                .expect_err("wrong")
                .code(),
            "malformed",
            "{wrong:?}"
        );
    }
    assert!(timeout(&headers(&TIMEOUT, &[b"1", b"1"])).is_err());
}

#[test]
fn a_key_has_1_to_256_visible_bytes() {
    assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    let longest = [b'k'; 256];
    let found = headers(&KEY, &[&longest]);
    assert_eq!(
        idempotency_key(&found).expect("a key").map(str::len),
        Some(256)
    );
    for wrong in [&b""[..], &[b'k'; 257], b"a b", b"a\tb", "ä".as_bytes()] {
        assert!(
            idempotency_key(&headers(&KEY, &[wrong])).is_err(),
            "{wrong:?}"
        );
    }
    assert!(idempotency_key(&headers(&KEY, &[b"a", b"b"])).is_err());
}

/// A body in several frames, which may end with an error.
struct Frames(std::collections::VecDeque<Result<&'static str, std::io::Error>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let next = self.0.pop_front();
        std::task::Poll::Ready(
            next.map(|frame| frame.map(|text| Frame::data(Bytes::from_static(text.as_bytes())))),
        )
    }
}

fn limit(bytes: u64) -> BodyLimit {
    BodyLimit {
        bytes,
        hint: "send less",
    }
}

fn frames(frames: &[&'static str]) -> Body {
    Body::new(Frames(frames.iter().map(|text| Ok(*text)).collect()))
}

#[tokio::test]
async fn the_frames_of_a_body_are_joined() {
    for (parts, expected) in [
        (&[][..], ""),
        (&["ab"], "ab"),
        (&["a", "", "b", "c"], "abc"),
        (&["", "abc"], "abc"),
    ] {
        assert_eq!(
            read(frames(parts), limit(3), None)
                .await
                .expect("within the limit"),
            expected
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_an_error_in_whichever_frame_it_exceeds_it() {
    for parts in [&["abcd"][..], &["abc", "d"], &["a", "b", "c", "d"]] {
        assert_eq!(
            read(frames(parts), limit(3), None)
                .await
                .expect_err("too large")
                .code(),
            "too_large",
            "{parts:?}"
        );
    }
}

#[tokio::test]
async fn an_incomplete_body_is_malformed() {
    let parts = [Ok("ab"), Err(std::io::Error::other("gone"))];
    let body = Body::new(Frames(parts.into_iter().collect()));
    assert_eq!(
        read(body, limit(100), Some(4))
            .await
            .expect_err("cut")
            .code(),
        "malformed"
    );
}
