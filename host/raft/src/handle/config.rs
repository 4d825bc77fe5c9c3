//! The seed's settings.

use std::time::Duration;

use thiserror::Error;

use crate::address::{AddressError, PeerAddress};

/// Settings of a node, as users of the library know them. Everything else is set on
/// [`RaftBuilder`](crate::RaftBuilder).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// This node: `id`, `host:port` or `id@host:port`. A bare id is a host name with the default port.
    pub node_id: String,
    /// The other nodes, written likewise.
    pub peers: Vec<String>,
    /// A follower waits at least this long for its leader before it campaigns. Default: 1 s.
    pub election_timeout_min: Duration,
    /// … and at most this long. Default: 2 s.
    pub election_timeout_max: Duration,
    /// A leader is heard at least this often. Default: 300 ms.
    pub heartbeat_interval: Duration,
    /// The log never holds more entries than this. Default: 10,000.
    pub max_log_entries: usize,
    /// A snapshot is taken after this many entries. Default: 5,000.
    pub snapshot_threshold: usize,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            node_id: "node1".to_owned(),
            peers: Vec::new(),
            election_timeout_min: Duration::from_millis(1000),
            election_timeout_max: Duration::from_millis(2000),
            heartbeat_interval: Duration::from_millis(300),
            max_log_entries: 10_000,
            snapshot_threshold: 5_000,
        }
    }
}

/// A setting that makes no sense.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An address can't be read.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Two nodes have one name.
    #[error("{0} is named twice among this node and its peers; each node has a name of its own")]
    Duplicate(String),
    /// The timeouts are in no order.
    #[error(
        "heartbeat_interval ({heartbeat:?}) must be shorter than election_timeout_min ({min:?}), \
         and that not longer than election_timeout_max ({max:?})"
    )]
    Timeouts {
        /// `heartbeat_interval`.
        heartbeat: Duration,
        /// `election_timeout_min`.
        min: Duration,
        /// `election_timeout_max`.
        max: Duration,
    },
    /// The log would fill up before a snapshot makes room.
    #[error(
        "snapshot_threshold ({threshold}) must be at least 1 and below max_log_entries ({entries})"
    )]
    Threshold {
        /// `snapshot_threshold`.
        threshold: usize,
        /// `max_log_entries`.
        entries: usize,
    },
}

impl RaftConfig {
    /// This node's and its peers' addresses, once all settings make sense.
    ///
    /// # Errors
    /// Where they don't.
    pub fn validate(&self) -> Result<(PeerAddress, Vec<PeerAddress>), ConfigError> {
        let own: PeerAddress = self.node_id.parse()?;
        let peers = self
            .peers
            .iter()
            .map(|peer| peer.parse())
            .collect::<Result<Vec<PeerAddress>, _>>()?;
        let mut ids: Vec<_> = peers
            .iter()
            .chain([&own])
            .map(|address| &address.id)
            .collect();
        ids.sort();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::Duplicate(twice[0].to_string()));
        }
        let (heartbeat, min, max) = (
            self.heartbeat_interval,
            self.election_timeout_min,
            self.election_timeout_max,
        );
        if heartbeat.is_zero() || heartbeat >= min || min > max {
            return Err(ConfigError::Timeouts {
                heartbeat,
                min,
                max,
            });
        }
        let (threshold, entries) = (self.snapshot_threshold, self.max_log_entries);
        if threshold == 0 || threshold >= entries {
            return Err(ConfigError::Threshold { threshold, entries });
        }
        Ok((own, peers))
    }
}
