//! The settings that all users of the library know.

use std::time::Duration;

use thiserror::Error;

use crate::address::{AddressError, PeerAddress};

/// Settings of a node. Public API: kept stable. All others are set on [`RaftBuilder`](crate::RaftBuilder).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftConfig {
    /// This node: `id`, `host:port` or `id@host:port`. A bare id is a host name with the default port.
    pub node_id: String,
    /// The other nodes, in the same form.
    pub peers: Vec<String>,
    /// Shortest time without a leader after which a follower starts an election. Default: 1 s.
    pub election_timeout_min: Duration,
    /// Longest time without a leader after which a follower starts an election. Each one is drawn at random between the
    /// two. Default: 2 s.
    pub election_timeout_max: Duration,
    /// A leader sends each follower a message at least this often. Default: 300 ms.
    pub heartbeat_interval: Duration,
    /// Largest number of entries in the log. Past it, proposals are refused until a snapshot frees space. Default: 10,000.
    pub max_log_entries: usize,
    /// Applied entries after which the node takes a snapshot. Default: 5,000.
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

/// A setting that is not valid.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An address can't be parsed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Two nodes have the same id.
    #[error("{0} is named twice among this node and its peers; give each node an id of its own")]
    Duplicate(String),
    /// The timeouts are in the wrong order.
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
    /// The log would be full before a snapshot frees space.
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
    /// Checks all settings, and returns the addresses of this node and of its peers.
    ///
    /// # Errors
    /// A setting is not valid.
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
