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

    fn next_frame(&mut self) -> Option<String> {
        while self.place < self.latest.load(Ordering::Relaxed) {
            self.place += 1;
            if self.place.is_multiple_of(10) {
                return Some(format!("data: ten\nid: {}\n\n", self.place));
            }
        }
        None
    }
}

async fn next(body: &mut Channel<Bytes, Infallible>) -> Option<String> {
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
    let connection = table.open();
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
