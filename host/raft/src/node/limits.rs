//! Sizes and timeouts of the network.

use std::time::Duration;

use super::frame::{HIGHEST_FRAME_LIMIT, MAX_FRAME_BYTES};

/// Limits of a [`Network`](super::Network). The defaults fit a LAN and most WANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Largest frame that is sent or accepted, in bytes: 1 KiB to 128 MiB. Set the same value on every node.
    pub max_frame_bytes: usize,
    /// Most messages in one queue; each peer has a queue for requests and one for responses. Above it, new messages are
    /// dropped and counted.
    pub queue_messages: usize,
    /// Most bytes of messages in one queue. An empty queue accepts a message of any size.
    pub queue_bytes: usize,
    /// Most incoming connections at one time. At most half of them may be others than those of members: without a hello, or of a
    /// node that is no member. Above either limit, the oldest of those is closed; a new one is refused only if all are of members.
    pub max_connections: usize,
    /// Timeout for opening a TCP connection, including name resolution.
    pub connect_timeout: Duration,
    /// Timeout for the peer's hello, on both ends.
    pub hello_timeout: Duration,
    /// After this time without a byte from the peer, the node that opened the connection sends a keep-alive; the peer
    /// responds with one.
    pub keep_alive: Duration,
    /// After this time without a byte from the peer, the connection is closed. At least twice `keep_alive`. Set the
    /// same value on every node.
    pub dead_after: Duration,
    /// Shortest pause between two attempts to connect. It doubles after each failure, up to `backoff_max`, with jitter.
    pub backoff_min: Duration,
    /// Longest pause between two attempts to connect.
    pub backoff_max: Duration,
    /// Pause after a refusal by the peer. It is long because only an operator can fix the cause, a configuration.
    pub backoff_refused: Duration,
    /// Longest time that a shutdown spends on writing queued messages.
    pub shutdown_grace: Duration,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            max_frame_bytes: MAX_FRAME_BYTES,
            queue_messages: 1024,
            queue_bytes: 64 << 20,
            max_connections: 64,
            connect_timeout: Duration::from_secs(3),
            hello_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_secs(2),
            dead_after: Duration::from_secs(6),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
            backoff_refused: Duration::from_secs(5),
            shutdown_grace: Duration::from_millis(500),
        }
    }
}

impl NetworkLimits {
    /// The first rule that the limits break, if any.
    pub(super) fn problem(&self) -> Option<&'static str> {
        const SMALLEST_FRAME: usize = 1024;
        if !(SMALLEST_FRAME..=HIGHEST_FRAME_LIMIT).contains(&self.max_frame_bytes) {
            return Some("max_frame_bytes must be from 1 KiB to 128 MiB");
        }
        if self.queue_messages == 0 || self.queue_bytes == 0 || self.max_connections == 0 {
            return Some("queue_messages, queue_bytes and max_connections must be 1 or more");
        }
        if self.keep_alive.is_zero() || self.keep_alive * 2 > self.dead_after {
            return Some("keep_alive must be more than 0, and dead_after at least twice as long");
        }
        if self.backoff_min.is_zero() || self.backoff_min > self.backoff_max {
            return Some("backoff_min must be more than 0 and no longer than backoff_max");
        }
        if self.connect_timeout.is_zero() || self.hello_timeout.is_zero() {
            return Some("connect_timeout and hello_timeout must be more than 0");
        }
        None
    }
}
