use std::sync::Arc;

use super::*;

async fn taken(queue: &SendQueue<u32>) -> Option<Vec<u32>> {
    let mut into = VecDeque::new();
    queue.take(&mut into).await.then(|| into.into())
}

#[tokio::test]
async fn all_queued_messages_are_taken_at_once_and_in_order() {
    let queue = SendQueue::new(10, 100);
    for n in 0..4 {
        queue.push(n, 10).unwrap();
    }
    assert_eq!(taken(&queue).await, Some(vec![0, 1, 2, 3]));
}

#[tokio::test]
async fn a_full_queue_refuses_messages_until_it_is_emptied() {
    let queue = SendQueue::new(2, 100);
    queue.push(1, 60).unwrap();
    assert_eq!(queue.push(2, 41), Err(NotQueued::Full));
    queue.push(2, 40).unwrap();
    assert_eq!(queue.push(3, 0), Err(NotQueued::Full));
    assert_eq!(taken(&queue).await, Some(vec![1, 2]));
    queue.push(3, 100).unwrap();
    assert_eq!(queue.clear(), 1);
    queue.push(4, 100).unwrap();
}

#[test]
fn an_empty_queue_accepts_a_message_of_any_size() {
    let queue = SendQueue::new(2, 100);
    queue.push(1, usize::MAX).unwrap();
    assert_eq!(queue.push(2, 1), Err(NotQueued::Full));
}

#[tokio::test]
async fn a_closed_queue_delivers_its_messages_and_then_ends() {
    let queue = SendQueue::new(2, 100);
    queue.push(1, 1).unwrap();
    queue.close();
    queue.closed().await;
    assert_eq!(queue.push(2, 1), Err(NotQueued::Closed));
    assert_eq!(taken(&queue).await, Some(vec![1]));
    assert_eq!(taken(&queue).await, None);
    assert_eq!(taken(&queue).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_consumer_is_woken_by_a_message_and_by_the_close() {
    let queue = Arc::new(SendQueue::new(2, 100));
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { (taken(&queue).await, taken(&queue).await) }
    });
    let closed = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.closed().await }
    });
    queue.push(7, 1).unwrap();
    tokio::task::yield_now().await;
    queue.close();
    closed.await.unwrap();
    let (first, second) = waiting.await.unwrap();
    assert_eq!(first, Some(vec![7]));
    assert_eq!(second, None);
}
