//! Counters of the network.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a [`Network`](super::Network) since its start. They never decrease.
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
    /// Messages received, without handshakes and keep-alives.
    frames_in, add_frames_in;
    /// Messages written to a socket, without handshakes and keep-alives.
    frames_out, add_frames_out;
    /// Bytes received after the handshake, including keep-alives.
    bytes_in, add_bytes_in;
    /// Bytes written after the handshake, including keep-alives.
    bytes_out, add_bytes_out;
    /// Requests dropped: full queue, no connection, unknown peer, or longer than the frame limit.
    dropped_requests, add_dropped_requests;
    /// Responses dropped, for the same reasons.
    dropped_responses, add_dropped_responses;
    /// Incoming connections refused.
    refused_connections, add_refused_connections;
    /// Incoming connections with a complete handshake.
    connections_in, add_connections_in;
    /// Outgoing connections with a complete handshake.
    connections_out, add_connections_out;
    /// Attempts to connect to a peer that failed.
    failed_dials, add_failed_dials;
    /// Connections in both directions that the peer or the network closed after the handshake.
    lost_connections, add_lost_connections;
}
