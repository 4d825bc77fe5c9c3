use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::connection_table::ConnectionTable;
use crate::settings::WaitingLimits;

const OWN: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";

/// What the client receives.
async fn received(bytes: &[u8], account: &Arc<ConnectionAccount>) -> String {
    let (near, mut far) = tokio::io::duplex(64);
    let mut stream = ParserErrors::new(near, account);
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        stream.write_all(&bytes).await.expect("an open stream");
        stream.shutdown().await.expect("an open stream");
    });
    let mut text = String::new();
    far.read_to_string(&mut text).await.expect("text");
    writing.await.expect("it is written");
    text
}

#[tokio::test]
async fn a_response_of_the_parser_gets_a_body_and_no_other_is_changed() {
    let table = ConnectionTable::new(WaitingLimits::default());
    let connection = table.open();
    let account = connection.account();
    let text = received(OWN, account).await;
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 431 "), "{text}");
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len())),
        "{text}"
    );
    assert!(body.contains("headers_too_large"), "{text}");

    // A part of a body that looks like one: it waits, or its request is active.
    let own = String::from_utf8_lossy(OWN);
    let share = account.wait_for(1);
    assert_eq!(received(OWN, account).await, own);
    drop(share);
    let request = account.begin_request();
    assert_eq!(received(OWN, account).await, own);
    drop(request);
    for other in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\n",
    ] {
        assert_eq!(received(other.as_bytes(), account).await, other);
    }
}
