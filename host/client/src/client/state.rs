//! State that the clones of a client share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::endpoint::Endpoint;
use crate::options::ClientOptions;
use crate::retry::random_bits;
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct ClientState {
    /// At least one.
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) options: ClientOptions,
    pub(super) transport: Transport,
    /// Position of the endpoint to try first: the leader, or the one that responded last.
    pub(super) preferred: AtomicUsize,
    /// Whether the leader was looked up since the last failed attempt.
    pub(super) follows_leader: AtomicBool,
    /// 128 random bits: keys of two clients never collide.
    key_prefix: String,
    next_key: AtomicU64,
}

impl ClientState {
    pub(super) fn new(endpoints: Vec<Endpoint>, options: ClientOptions) -> Self {
        Self {
            endpoints,
            transport: Transport::new(&options),
            options,
            preferred: AtomicUsize::new(0),
            follows_leader: AtomicBool::new(false),
            key_prefix: format!("{:016x}{:016x}", random_bits(), random_bits()),
            next_key: AtomicU64::new(1),
        }
    }

    /// A new idempotency key, unique over all clients.
    pub(super) fn make_key(&self) -> String {
        let number = self.next_key.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.key_prefix)
    }
}
