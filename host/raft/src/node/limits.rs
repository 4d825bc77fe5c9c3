//! What the network may spend, and how long it waits.

use std::time::Duration;

use super::frame::{HIGHEST_FRAME_LIMIT, MAX_FRAME_BYTES};

/// Bounds of a [`Network`](super::Network). [`Default`] suits a LAN and most WANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Largest frame that is sent or taken, in bytes. The same on every node.
    pub max_frame_bytes: usize,
    /// Messages that may wait for one peer, in each direction.
    pub queue_messages: usize,
    /// Bytes of messages that may wait for one peer, in each direction. A single message always may.
    pub queue_bytes: usize,
    /// IncomingFrame connections at a time, those that have not said hello included.
    pub max_connections: usize,
    /// How long a TCP connection may take to come about, name resolution included.
    pub connect_timeout: Duration,
    /// How long a hello may take, at both ends.
    pub hello_timeout: Duration,
    /// After this long without a byte from the peer, the node that dialled asks for a sign of life.
    pub keep_alive: Duration,
    /// After this long without a byte from the peer, the connection is dropped. The same on every node.
    pub dead_after: Duration,
    /// Shortest pause between two attempts to connect. It doubles up to `backoff_max`, with jitter.
    pub backoff_min: Duration,
    /// Longest pause between two attempts to connect.
    pub backoff_max: Duration,
    /// Pause after the peer has refused this node: that takes somebody who changes a configuration.
    pub backoff_refused: Duration,
    /// How long a shutdown waits for what is queued to be written.
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
    /// What is wrong with them, if anything.
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
