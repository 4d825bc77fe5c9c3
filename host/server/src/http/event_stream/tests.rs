use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::BodyExt;

use super::*;
use crate::http::connection_table::ConnectionTable;
use crate::settings::WaitingLimits;

/// The numbers up to `latest`. The client wants the multiples of ten.
struct Tens {
    place: u64,
    latest: Arc<AtomicU64>,
}

impl FrameSource for Tens {
    fn position(&self) -> String {
        self.place.to_string()
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        while self.place < self.latest.load(Ordering::Relaxed) {
            self.place += 1;
            if self.place.is_multiple_of(10) {
                return Some(format!("data: ten\nid: {}\n\n", self.place).into());
            }
        }
        None
    }
}

async fn next(body: &mut StreamBody) -> Option<String> {
    let Ok(frame) = body.frame().await?;
    let data = frame.into_data().expect("data");
    Some(String::from_utf8(data.to_vec()).expect("text"))
}

#[tokio::test]
async fn an_idle_client_receives_the_position_and_the_stream_ends_with_the_node() {
    let latest = Arc::new(AtomicU64::new(13));
    let source = Tens {
        place: 0,
        latest: Arc::clone(&latest),
    };
    let (changes, open) = (watch::Sender::new(()), watch::Sender::new(true));
    let keep_alive = Duration::from_millis(1);
    let table = ConnectionTable::new(WaitingLimits::default());
    let connection = table.open(std::net::Ipv4Addr::LOCALHOST.into());
    let client = StreamClient::of_connection(&connection);
    let mut body = start(
        source,
        client,
        "numbers",
        changes.subscribe(),
        open.subscribe(),
        keep_alive,
    );
    for expected in [
        ": numbers\nid: 0\n\n",
        "data: ten\nid: 10\n\n",
        ": keep-alive\nid: 13\n\n",
    ] {
        assert_eq!(next(&mut body).await.as_deref(), Some(expected));
    }
    latest.store(15, Ordering::Relaxed);
    changes.send_replace(());
    while next(&mut body).await.as_deref() != Some(": keep-alive\nid: 15\n\n") {}
    open.send_replace(false);
    while next(&mut body).await.is_some() {}
}

#[test]
fn the_last_id_comes_from_the_header_or_else_from_the_url() {
    let mut headers = HeaderMap::new();
    assert_eq!(last_id::<u64>(&headers, None), Ok(None));
    assert_eq!(last_id::<u64>(&headers, Some("3")), Ok(Some(3)));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_static(""));
    assert_eq!(last_id::<u64>(&headers, Some("3")), Ok(Some(3)));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_static("5"));
    assert_eq!(last_id::<u64>(&headers, Some("3")), Ok(Some(5)));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_static("five"));
    assert!(last_id::<u64>(&headers, Some("3")).is_err());
}

/// Frames of 100 KB without end.
struct Large;

impl FrameSource for Large {
    fn position(&self) -> String {
        "0".to_owned()
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        Some(vec![b'x'; 100_000].into())
    }
}

/// Polls a body once. Returns the length of the chunk, if there is one.
fn poll_once(body: &mut StreamBody) -> Option<usize> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut frame = std::pin::pin!(body.frame());
    match frame.as_mut().poll(&mut context) {
        std::task::Poll::Ready(frame) => {
            let frame = frame.expect("no end").expect("no error");
            Some(frame.into_data().expect("data").len())
        }
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn large_frames_for_many_clients_are_sent_in_turn_and_in_chunks() {
    let table = ConnectionTable::new(WaitingLimits::default());
    let (changes, open) = (watch::Sender::new(()), watch::Sender::new(true));
    let turns = StreamTurns::default();
    let connection = table.open(std::net::Ipv4Addr::LOCALHOST.into());
    let mut bodies: Vec<_> = (0..8)
        .map(|_| {
            let client = StreamClient {
                turns: turns.clone(),
                ..StreamClient::of_connection(&connection)
            };
            let (changes, open) = (changes.subscribe(), open.subscribe());
            start(Large, client, "large", changes, open, KEEP_ALIVE)
        })
        .collect();
    for body in &mut bodies {
        assert_eq!(next(body).await.as_deref(), Some(": large\nid: 0\n\n"));
        // The connection asks for more.
        assert_eq!(poll_once(body), None);
    }
    // The first three, more than there are turns, have asked and don't take it: their turns end all the same.
    let mut received = vec![0; bodies.len()];
    while received[3..].iter().any(|bytes| *bytes < 1_000_000) {
        tokio::task::yield_now().await;
        assert!(turns.in_turn() <= 2 * CHUNK_BYTES);
        for (body, received) in bodies.iter_mut().zip(&mut received).skip(3) {
            if let Some(bytes) = poll_once(body) {
                assert!(bytes <= CHUNK_BYTES, "{bytes}");
                *received += bytes;
                // So that it asks for the next one.
                assert_eq!(poll_once(body), None);
            }
        }
    }
    let most = received.iter().max().expect("clients");
    assert!(*most <= 2_000_000, "{received:?}");
}
