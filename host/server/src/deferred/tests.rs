//! Late answers find those who wait for them.

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
async fn all_who_wait_for_a_token_get_its_answer() {
    let deferred = Arc::new(Deferred::default());
    let waiters = [1, 2].map(|_| {
        let deferred = Arc::clone(&deferred);
        tokio::spawn(async move { deferred.wait(7, Index(3)).await })
    });
    tokio::task::yield_now().await;
    deferred.complete(Index(4), &[done(8, "other"), done(7, "answer")]);
    for waiter in waiters {
        let answer = waiter.await.expect("it ends").expect("an answer");
        assert_eq!(&answer.reply[..], b"answer");
    }
    assert!(deferred.lock().waiting.is_empty());
}

#[tokio::test]
async fn an_answer_that_came_first_is_found() {
    let deferred = Deferred::default();
    deferred.complete(Index(4), &[done(7, "answer")]);
    assert_eq!(deferred.wait(7, Index(4)).await, Some(done(7, "answer")));
}

#[tokio::test]
async fn the_answer_to_an_earlier_command_under_the_same_token_is_not_taken() {
    let deferred = Deferred::default();
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
async fn who_stops_waiting_is_forgotten() {
    let deferred = Deferred::default();
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
fn what_is_kept_is_bounded() {
    let deferred = Deferred::default();
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
    let state = deferred.lock();
    assert_eq!((state.kept.len(), state.kept_bytes), (0, 0));
}
