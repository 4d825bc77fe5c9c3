//! The handshake: the first frame of each direction of a connection. It is a hello or a refusal.
//!
//! ```text
//! 0        4        8         10     11                        4 + length - 4   4 + length
//! +--------+--------+---------+------+-------------------------+----------------+
//! | length | "OARL" | version | kind | fields                  | CRC-32C        |
//! +--------+--------+---------+------+-------------------------+----------------+
//! kind 0, hello:    cluster id, node id, peer id, client address; each a u16 of bytes and UTF-8
//!   in version 2, then: lineage (u128), flags (u8; 1: it has a log), store id (u64), run number (u64),
//!                 number of run ids (u8), run ids (u64 each), cluster level (u32), known level (u32),
//!                 peer address (a u16 of bytes and UTF-8)
//! kind 1, refusal:  reason (u8), detail (a u16 of bytes and UTF-8)
//! ```
//!
//! The node that opens the connection begins with version 2. If it is refused because of the version, the peer is of an older
//! release, and it connects again with version 1. The hello in response has the version of the request. On a connection of
//! version 1, messages of later versions are dropped by their sender. A refusal always has version 1.
//!
//! All numbers are big-endian. The checksum covers the bytes between `length` and itself. The position of magic,
//! version and kind and the layout of a refusal are the same in every version: two nodes of different versions can
//! read each other's refusal. This module does no IO.

use std::fmt;

use thiserror::Error;

use super::frame::{CHECKSUM_BYTES, LENGTH_BYTES};
use crate::address::is_valid_id;
use crate::identity::{History, MAX_RUNS, NodeIdentity, PeerHello, RunHistory};
use crate::ids::{Lineage, NodeId, StoreId};

#[cfg(test)]
mod tests;

/// The first bytes of every handshake frame.
pub const MAGIC: [u8; 4] = *b"OARL";

/// The newest version of the protocol between nodes.
pub const PROTOCOL_VERSION: u16 = 2;

/// The version of the release before, without the identity of the store.
pub const PROTOCOL_WITHOUT_IDENTITY: u16 = 1;

/// Longest peer address, in bytes.
pub const MAX_PEER_ADDR_BYTES: usize = 512;

const HAS_LOG: u8 = 1;

/// Largest `length` of a handshake frame, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 2048;

/// Longest cluster id, in bytes.
pub const MAX_CLUSTER_ID_BYTES: usize = 255;

/// Longest client address, in bytes.
pub const MAX_CLIENT_ADDR_BYTES: usize = 512;

const MAX_DETAIL_BYTES: usize = 1024;
const MIN_HANDSHAKE_BYTES: usize = 4 + 2 + 1 + CHECKSUM_BYTES;
const KIND_HELLO: u8 = 0;
const KIND_REFUSAL: u8 = 1;

/// Identifies the sender to the receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's cluster; empty if it has not joined one.
    pub cluster_id: String,
    /// The sender's node id.
    pub node_id: NodeId,
    /// The node id that the sender expects at this address.
    pub peer_id: NodeId,
    /// The address that the sender serves clients on; may be empty.
    pub client_addr: String,
    /// What version 2 adds; none in version 1.
    pub extension: Option<HelloExtension>,
}

/// The fields of a hello that version 2 adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloExtension {
    /// The sender's store, runs, history and levels.
    pub identity: NodeIdentity,
    /// The address that the sender's peers reach it at; may be empty.
    pub peer_addr: String,
}

/// The reason for closing a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloRefusal {
    /// The reason as a code.
    pub reason: HelloRefusalReason,
    /// The reason as text for the log, without control characters.
    pub detail: String,
}

/// Why a node refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloRefusalReason {
    /// The first frame is not a hello.
    NotAHello,
    /// The versions of the protocol differ.
    Version,
    /// The sender belongs to another cluster.
    OtherCluster,
    /// The sender is not a configured peer.
    UnknownNode,
    /// The sender has the same node id as the receiver.
    Oneself,
    /// The sender expected another node at this address.
    WrongNode,
    /// The limit of connections is reached.
    TooManyConnections,
    /// The sender does not know the level of the receiver's cluster, or the receiver that of the sender's.
    Level,
    /// The sender's log is of another lineage.
    OtherLineage,
    /// A reason that only later versions define.
    Other(u8),
}

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The sender accepts the connection.
    Hello(Hello),
    /// The sender closes the connection.
    Refusal(HelloRefusal),
}

/// Why bytes are not a handshake frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// The length prefix is out of range. No memory was reserved for it.
    #[error(
        "its first frame has a length of {length} bytes; a hello has {MIN_HANDSHAKE_BYTES} to {MAX_HANDSHAKE_BYTES}: it is not an Oarlock node, check the address"
    )]
    Length {
        /// The length prefix, in bytes.
        length: usize,
    },
    /// It doesn't begin with [`MAGIC`].
    #[error(
        "its first frame begins with {found:02x?} and not with \"OARL\": it is not an Oarlock node, check the address"
    )]
    Magic {
        /// Its first bytes.
        found: [u8; 4],
    },
    /// The versions of the protocol differ.
    #[error(
        "it uses version {theirs} of the protocol and this node version {PROTOCOL_VERSION}: run the same release on both"
    )]
    Version {
        /// The sender's version.
        theirs: u16,
    },
    /// The bytes changed in transit.
    #[error("the checksum of its hello is wrong: the bytes were corrupted in transit")]
    Checksum,
    /// A field is missing, too long, or contains characters that are not allowed.
    #[error(
        "the {field} of its hello is missing or not valid: it is not an Oarlock node, or its release has a bug"
    )]
    Field {
        /// The name of the field.
        field: &'static str,
    },
}

impl HelloRefusal {
    /// A refusal with this reason and text.
    pub fn new(reason: HelloRefusalReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

impl From<&HelloError> for HelloRefusal {
    fn from(error: &HelloError) -> Self {
        let reason = match error {
            HelloError::Version { .. } => HelloRefusalReason::Version,
            _ => HelloRefusalReason::NotAHello,
        };
        Self::new(reason, format!("the hello can't be read: {error}"))
    }
}

impl fmt::Display for HelloRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for HelloRefusal {}

impl HelloRefusalReason {
    fn code(self) -> u8 {
        match self {
            Self::NotAHello => 1,
            Self::Version => 2,
            Self::OtherCluster => 3,
            Self::UnknownNode => 4,
            Self::Oneself => 5,
            Self::WrongNode => 6,
            Self::TooManyConnections => 7,
            Self::Level => 8,
            Self::OtherLineage => 9,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::NotAHello,
            2 => Self::Version,
            3 => Self::OtherCluster,
            4 => Self::UnknownNode,
            5 => Self::Oneself,
            6 => Self::WrongNode,
            7 => Self::TooManyConnections,
            8 => Self::Level,
            9 => Self::OtherLineage,
            code => Self::Other(code),
        }
    }
}

impl Hello {
    /// Whether the sender only wants to know which node answers: it names the node that it expects as the sender. No node
    /// opens a connection to itself.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.node_id == self.peer_id
    }

    /// Whether the node `own` of `cluster_id` accepts this hello. `is_peer` returns whether an id is one of its peers.
    ///
    /// # Errors
    /// The refusal to send back: another cluster, the node's own id, meant for another node, or not a peer.
    pub fn check(
        &self,
        cluster_id: &str,
        own: &NodeId,
        is_peer: impl FnOnce(&NodeId) -> bool,
    ) -> Result<(), HelloRefusal> {
        let Self {
            cluster_id: theirs,
            node_id,
            peer_id,
            ..
        } = self;
        let refuse = |reason, detail| Err(HelloRefusal::new(reason, detail));
        if theirs != cluster_id {
            let detail = format!(
                "node {node_id} belongs to cluster {theirs:?} and node {own} to cluster {cluster_id:?}: one of them has a wrong peer address, correct it; or the disk of one was replaced and its --cluster is not the one that the cluster began with: start that node with --cluster-id set to the id of the other node's cluster"
            );
            return refuse(HelloRefusalReason::OtherCluster, detail);
        }
        if node_id == own {
            let detail = format!(
                "both nodes have the id {own}: a node has its own address listed as a peer's, or two nodes share an id; correct the configuration"
            );
            return refuse(HelloRefusalReason::Oneself, detail);
        }
        if peer_id != own {
            let detail = format!(
                "node {node_id} expected node {peer_id} and reached node {own}: correct the address of {peer_id}"
            );
            return refuse(HelloRefusalReason::WrongNode, detail);
        }
        if !is_peer(node_id) {
            let detail = format!(
                "node {node_id} is not among the peers of node {own}: add it to the cluster first"
            );
            return refuse(HelloRefusalReason::UnknownNode, detail);
        }
        Ok(())
    }
}

impl Hello {
    /// Version of the protocol of the connection.
    #[must_use]
    pub fn protocol(&self) -> u16 {
        match self.extension {
            Some(_) => PROTOCOL_VERSION,
            None => PROTOCOL_WITHOUT_IDENTITY,
        }
    }

    /// The hello as the node handles it.
    #[must_use]
    pub fn peer_hello(&self) -> PeerHello {
        let extension = self.extension.clone();
        let (identity, peer_addr) = extension.map_or_else(Default::default, |extension| {
            (extension.identity, extension.peer_addr)
        });
        PeerHello {
            id: self.node_id.clone(),
            protocol: self.protocol(),
            store_id: identity.store_id,
            runs: identity.runs,
            history: identity.history,
            known_level: identity.known_level,
            peer_addr,
        }
    }

    /// Whether a node with this identity accepts the level and the lineage in this hello.
    ///
    /// # Errors
    /// The refusal to send back.
    pub fn check_identity(&self, own_id: &NodeId, own: &NodeIdentity) -> Result<(), HelloRefusal> {
        let node = &self.node_id;
        let refuse = |reason, detail| Err(HelloRefusal::new(reason, detail));
        let Some(HelloExtension { identity, .. }) = &self.extension else {
            if own.cluster_level == 0 {
                return Ok(());
            }
            let detail = format!(
                "the cluster is at level {}, and the release of node {node} does not know levels: start the release on it that the other nodes run",
                own.cluster_level
            );
            return refuse(HelloRefusalReason::Version, detail);
        };
        let above = |level: u32, known: u32, older: &NodeId| {
            let detail = format!(
                "the cluster is at level {level}, and the release of node {older} knows levels up to {known}: start the release on it that the other nodes run"
            );
            refuse(HelloRefusalReason::Level, detail)
        };
        if own.cluster_level > identity.known_level {
            return above(own.cluster_level, identity.known_level, node);
        }
        if identity.cluster_level > own.known_level {
            return above(identity.cluster_level, own.known_level, own_id);
        }
        if own.history.contradicts(&identity.history) {
            let detail = format!(
                "node {node} has a log of lineage {}, and node {own_id} one of lineage {}: they belong to two clusters, which were begun separately. Keep both data directories, and start each node with the directory of its own cluster",
                identity.history.lineage, own.history.lineage
            );
            return refuse(HelloRefusalReason::OtherLineage, detail);
        }
        Ok(())
    }
}

impl Handshake {
    /// The bytes of the frame, including its length. A text is cut at the limit of its field.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; LENGTH_BYTES];
        out.extend_from_slice(&MAGIC);
        let version = match self {
            Self::Hello(hello) => hello.protocol(),
            // Readable by every version.
            Self::Refusal(_) => PROTOCOL_WITHOUT_IDENTITY,
        };
        out.extend_from_slice(&version.to_be_bytes());
        match self {
            Self::Hello(hello) => {
                out.push(KIND_HELLO);
                put_text(&mut out, &hello.cluster_id, MAX_CLUSTER_ID_BYTES);
                put_text(
                    &mut out,
                    hello.node_id.as_str(),
                    crate::address::MAX_ID_BYTES,
                );
                put_text(
                    &mut out,
                    hello.peer_id.as_str(),
                    crate::address::MAX_ID_BYTES,
                );
                put_text(&mut out, &hello.client_addr, MAX_CLIENT_ADDR_BYTES);
                if let Some(extension) = &hello.extension {
                    put_extension(&mut out, extension);
                }
            }
            Self::Refusal(refusal) => {
                out.push(KIND_REFUSAL);
                out.push(refusal.reason.code());
                put_text(&mut out, &refusal.detail, MAX_DETAIL_BYTES);
            }
        }
        let checksum = crc32c::crc32c(&out[LENGTH_BYTES..]);
        out.extend_from_slice(&checksum.to_be_bytes());
        // The limits of the fields keep the length far below 2^32.
        let length = (out.len() - LENGTH_BYTES) as u32;
        out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        out
    }

    /// Decodes the length prefix, before memory is reserved for the frame.
    ///
    /// # Errors
    /// [`HelloError::Length`].
    pub fn decode_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, HelloError> {
        let length = u32::from_be_bytes(prefix) as usize;
        if (MIN_HANDSHAKE_BYTES..=MAX_HANDSHAKE_BYTES).contains(&length) {
            Ok(length)
        } else {
            Err(HelloError::Length { length })
        }
    }

    /// Decodes the bytes after the length prefix.
    ///
    /// # Errors
    /// The bytes are neither one handshake frame of this version nor one refusal of any version.
    pub fn decode(body: &[u8]) -> Result<Self, HelloError> {
        let Some((content, checksum)) = body.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(HelloError::Length { length: body.len() });
        };
        let mut fields = HelloFields { rest: content };
        let magic = fields.array("magic")?;
        if magic != MAGIC {
            return Err(HelloError::Magic { found: magic });
        }
        let theirs = u16::from_be_bytes(fields.array("version")?);
        let [kind] = fields.array("kind")?;
        // In another version the checksum of a hello may be at another position, so it is not checked.
        let known = [PROTOCOL_WITHOUT_IDENTITY, PROTOCOL_VERSION].contains(&theirs);
        if !known && kind != KIND_REFUSAL {
            return Err(HelloError::Version { theirs });
        }
        if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
            return Err(HelloError::Checksum);
        }
        let opening = match kind {
            KIND_HELLO => Self::Hello(fields.hello(theirs)?),
            KIND_REFUSAL => Self::Refusal(fields.refusal()?),
            _ => return Err(HelloError::Field { field: "kind" }),
        };
        if fields.rest.is_empty() {
            Ok(opening)
        } else {
            Err(HelloError::Field { field: "end" })
        }
    }
}

fn put_extension(out: &mut Vec<u8>, extension: &HelloExtension) {
    let HelloExtension {
        identity,
        peer_addr,
    } = extension;
    let runs = &identity.runs.recent[..identity.runs.recent.len().min(MAX_RUNS)];
    out.extend_from_slice(&identity.history.lineage.0.to_be_bytes());
    out.push(if identity.history.has_log { HAS_LOG } else { 0 });
    out.extend_from_slice(&identity.store_id.0.to_be_bytes());
    out.extend_from_slice(&identity.runs.number.to_be_bytes());
    // At most MAX_RUNS.
    out.push(runs.len() as u8);
    for run in runs {
        out.extend_from_slice(&run.to_be_bytes());
    }
    out.extend_from_slice(&identity.cluster_level.to_be_bytes());
    out.extend_from_slice(&identity.known_level.to_be_bytes());
    put_text(out, peer_addr, MAX_PEER_ADDR_BYTES);
}

fn put_text(out: &mut Vec<u8>, text: &str, max_bytes: usize) {
    let text = &text[..text.floor_char_boundary(max_bytes)];
    // The limit of every field fits into a u16.
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The bytes that are not decoded yet.
struct HelloFields<'a> {
    rest: &'a [u8],
}

impl HelloFields<'_> {
    fn hello(&mut self, version: u16) -> Result<Hello, HelloError> {
        Ok(Hello {
            cluster_id: self.text("cluster id", MAX_CLUSTER_ID_BYTES)?,
            node_id: self.node_id("node id")?,
            peer_id: self.node_id("peer id")?,
            client_addr: self.text("client address", MAX_CLIENT_ADDR_BYTES)?,
            extension: match version {
                PROTOCOL_WITHOUT_IDENTITY => None,
                _ => Some(self.extension()?),
            },
        })
    }

    fn extension(&mut self) -> Result<HelloExtension, HelloError> {
        let lineage = Lineage(u128::from_be_bytes(self.array("lineage")?));
        let [flags] = self.array("flags")?;
        let store_id = StoreId(self.number("store id")?);
        let runs = RunHistory {
            number: self.number("run number")?,
            recent: self.runs()?,
        };
        let identity = NodeIdentity {
            store_id,
            runs,
            history: History {
                lineage,
                has_log: flags & HAS_LOG != 0,
            },
            cluster_level: u32::from_be_bytes(self.array("cluster level")?),
            known_level: u32::from_be_bytes(self.array("known level")?),
        };
        let peer_addr = self.text("peer address", MAX_PEER_ADDR_BYTES)?;
        Ok(HelloExtension {
            identity,
            peer_addr,
        })
    }

    fn runs(&mut self) -> Result<Vec<u64>, HelloError> {
        let [count] = self.array("run count")?;
        if usize::from(count) > MAX_RUNS {
            return Err(HelloError::Field { field: "run count" });
        }
        (0..count).map(|_| self.number("run id")).collect()
    }

    fn number(&mut self, field: &'static str) -> Result<u64, HelloError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    fn refusal(&mut self) -> Result<HelloRefusal, HelloError> {
        let [code] = self.array("reason")?;
        let detail = self.text("detail", MAX_DETAIL_BYTES)?;
        Ok(HelloRefusal {
            reason: HelloRefusalReason::from_code(code),
            detail,
        })
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], HelloError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(HelloError::Field { field })?;
        self.rest = rest;
        Ok(*array)
    }

    /// Decodes a text. It may not contain control characters, because it is printed in log lines.
    fn text(&mut self, field: &'static str, max_bytes: usize) -> Result<String, HelloError> {
        let invalid = || HelloError::Field { field };
        let length = usize::from(u16::from_be_bytes(self.array(field)?));
        if length > max_bytes || length > self.rest.len() {
            return Err(invalid());
        }
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        let text = std::str::from_utf8(text).map_err(|_| invalid())?;
        if text.chars().any(char::is_control) {
            Err(invalid())
        } else {
            Ok(text.into())
        }
    }

    fn node_id(&mut self, field: &'static str) -> Result<NodeId, HelloError> {
        let id = self.text(field, crate::address::MAX_ID_BYTES)?;
        if is_valid_id(&id) {
            Ok(id.into())
        } else {
            Err(HelloError::Field { field })
        }
    }
}
