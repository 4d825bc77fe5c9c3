use std::sync::Arc;

use bytes::Bytes;

use super::*;

fn done(token: u64, reply: &'static str) -> Completion {
    Completion {
        token,
        accepted: true,
        reply: Bytes::from_static(reply.as_bytes()),
    }
}

#[tokio::test]
async fn all_clients_that_wait_for_a_token_receive_its_reply() {
    let deferred = Arc::new(DeferredReplies::default());
    let waiters = [1, 2].map(|_| {
        let deferred = Arc::clone(&deferred);
        tokio::spawn(async move { deferred.wait(7, Index(3)).await })
    });
    tokio::task::yield_now().await;
    deferred.complete(Index(4), &[done(8, "other"), done(7, "reply")]);
    for waiter in waiters {
        let completion = waiter.await.expect("it ends").expect("a reply");
        assert_eq!(&completion.reply[..], b"reply");
    }
    assert!(deferred.lock().waiting.is_empty());
}

#[tokio::test]
async fn a_reply_that_was_completed_before_the_wait_is_found() {
    let deferred = DeferredReplies::default();
    deferred.complete(Index(4), &[done(7, "reply")]);
    assert_eq!(deferred.wait(7, Index(4)).await, Some(done(7, "reply")));
}

#[tokio::test]
async fn a_reply_to_an_earlier_command_with_the_same_token_is_ignored() {
    let deferred = DeferredReplies::default();
    deferred.complete(Index(4), &[done(7, "old")]);
    let mut waiting = std::pin::pin!(deferred.wait(7, Index(5)));
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()))
            .await
    );
    deferred.complete(Index(6), &[done(7, "new")]);
    assert_eq!(waiting.await, Some(done(7, "new")));
}

#[tokio::test]
async fn a_cancelled_wait_leaves_no_waiter() {
    let deferred = DeferredReplies::default();
    {
        let mut waiting = std::pin::pin!(deferred.wait(7, Index(5)));
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(
                waiting.as_mut().poll(cx).is_pending()
            ))
            .await
        );
        assert_eq!(deferred.lock().waiting.len(), 1);
    }
    assert!(deferred.lock().waiting.is_empty());
}

#[test]
fn the_stored_replies_are_limited_in_number_and_size() {
    let deferred = DeferredReplies::default();
    for token in 0..(KEPT as u64 + 10) {
        deferred.complete(Index(token), &[done(token, "x")]);
    }
    assert_eq!(deferred.lock().kept.len(), KEPT);
    let large = Completion {
        token: 1,
        accepted: true,
        reply: Bytes::from(vec![0; KEPT_BYTES + 1]),
    };
    deferred.complete(Index(9999), &[large]);
    let table = deferred.lock();
    assert_eq!((table.kept.len(), table.kept_bytes), (0, 0));
}
