//! What the network counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a [`Network`](super::Network) since its start. They only grow.
#[derive(Debug, Default)]
pub struct NetworkStats {
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    dropped_requests: AtomicU64,
    dropped_responses: AtomicU64,
    refused_connections: AtomicU64,
    connections_in: AtomicU64,
    connections_out: AtomicU64,
    failed_dials: AtomicU64,
    lost_connections: AtomicU64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident, $add:ident;)*) => {
        impl NetworkStats {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self) -> u64 {
                    self.$name.load(Ordering::Relaxed)
                }

                pub(super) fn $add(&self, count: usize) {
                    self.$name.fetch_add(count as u64, Ordering::Relaxed);
                }
            )*
        }
    };
}

counters! {
    /// Messages that came, without hellos and keep-alives.
    frames_in, add_frames_in;
    /// Messages that were handed to the operating system, without hellos and keep-alives.
    frames_out, add_frames_out;
    /// Bytes that came behind the hello, keep-alives included.
    bytes_in, add_bytes_in;
    /// Bytes that were written behind the hello, keep-alives included.
    bytes_out, add_bytes_out;
    /// Requests that were not sent: full queue, no connection, unknown peer, over the frame limit.
    dropped_requests, add_dropped_requests;
    /// Responses that were not sent, for the same reasons.
    dropped_responses, add_dropped_responses;
    /// IncomingFrame connections that were closed with a refusal.
    refused_connections, add_refused_connections;
    /// IncomingFrame connections whose hello was answered.
    connections_in, add_connections_in;
    /// Outgoing connections whose hello was answered.
    connections_out, add_connections_out;
    /// Attempts to connect to a peer that came to nothing.
    failed_dials, add_failed_dials;
    /// Connections that ended after their hello, in both directions, other than by this node's will.
    lost_connections, add_lost_connections;
}
