use http_body_util::BodyExt;

use super::*;
use crate::http::connection_table::ConnectionTable;
use crate::settings::WaitingLimits;

#[tokio::test]
async fn a_body_waits_until_its_chunks_are_dropped() {
    let table = ConnectionTable::new(WaitingLimits::default());
    let connection = table.open(std::net::Ipv4Addr::LOCALHOST.into());
    let length = 2 * CHUNK_BYTES + 10;
    for (is_shared, first) in [(false, length), (true, 0)] {
        let (account, body) = (connection.account(), Body::from(vec![7; length]));
        let request = account.begin_request();
        let mut body = WaitingBody::new(body, account, request, is_shared);
        assert_eq!(body.size_hint().exact(), Some(length as u64));
        assert_eq!(table.waiting(), first as u64);
        let chunk = body.frame().await.expect("a chunk").expect("a chunk");
        let chunk = chunk.into_data().expect("data");
        assert_eq!(chunk.len(), CHUNK_BYTES);
        let expected = if is_shared { CHUNK_BYTES } else { length };
        assert_eq!(table.waiting(), expected as u64);
        drop(chunk);
        assert_eq!(table.waiting(), (expected - CHUNK_BYTES) as u64);
        assert!(!account.is_idle(), "the body is not sent");
        let rest = body.collect().await.expect("the rest").to_bytes();
        assert_eq!(rest.len(), length - CHUNK_BYTES);
        drop(rest);
        assert_eq!((table.waiting(), account.is_idle()), (0, true));
    }
}
