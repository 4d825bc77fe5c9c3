//! The first frame of each direction of a connection: who speaks, and to whom; or why not.
//!
//! ```text
//! 0        4        8         10     11                        4 + length - 4   4 + length
//! +--------+--------+---------+------+-------------------------+----------------+
//! | length | "OARL" | version | kind | fields                  | CRC-32C        |
//! +--------+--------+---------+------+-------------------------+----------------+
//! kind 0, hello:    cluster id, node id, peer id, client address; each a u16 of bytes and UTF-8
//! kind 1, refusal:  reason (u8), detail (a u16 of bytes and UTF-8)
//! ```
//!
//! All numbers are big-endian; the checksum is of the bytes between it and `length`. The place of magic, version and
//! kind, and the layout of a refusal, stay the same in every version, so that two versions can tell each other so.
//! Nothing here does IO.

use std::fmt;

use thiserror::Error;

use super::frame::{CHECKSUM_BYTES, LENGTH_BYTES};
use crate::address::is_valid_id;
use crate::types::NodeId;

#[cfg(test)]
mod tests;

/// The first bytes of every opening.
pub const MAGIC: [u8; 4] = *b"OARL";

/// Version of everything that nodes say to each other.
pub const PROTOCOL_VERSION: u16 = 1;

/// Largest `length` of an opening, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 2048;

/// Longest cluster id, in bytes.
pub const MAX_CLUSTER_ID_BYTES: usize = 255;

/// Longest client address, in bytes.
pub const MAX_CLIENT_ADDR_BYTES: usize = 512;

const MAX_DETAIL_BYTES: usize = 1024;
const MIN_HANDSHAKE_BYTES: usize = 4 + 2 + 1 + CHECKSUM_BYTES;
const KIND_HELLO: u8 = 0;
const KIND_REFUSAL: u8 = 1;

/// Introduces a node to the one at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The cluster that the sender belongs to.
    pub cluster_id: String,
    /// The sender.
    pub node_id: NodeId,
    /// The node that the sender takes the receiver for.
    pub peer_id: NodeId,
    /// Where the sender serves clients; empty if it doesn't say.
    pub client_addr: String,
}

/// Says why a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloRefusal {
    /// For programs.
    pub reason: HelloRefusalReason,
    /// For people: a sentence without control characters.
    pub detail: String,
}

/// Why a node doesn't talk to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloRefusalReason {
    /// The first frame was no hello.
    NotAHello,
    /// Another version of the protocol.
    Version,
    /// A node of another cluster.
    OtherCluster,
    /// A node that isn't among the peers.
    UnknownNode,
    /// A node that has the receiver's own id.
    Oneself,
    /// The sender takes the receiver for another node.
    WrongNode,
    /// As many connections as are allowed.
    TooManyConnections,
    /// A reason of a later version.
    Other(u8),
}

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// An introduction.
    Hello(Hello),
    /// The end.
    Refusal(HelloRefusal),
}

/// Why bytes are not an opening.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// The length in front is over the limit, or too small. Nothing has been allocated for it.
    #[error(
        "its first frame says {length} bytes where a hello has {MIN_HANDSHAKE_BYTES} to {MAX_HANDSHAKE_BYTES}: it's no Oarlock node"
    )]
    Length {
        /// What the length says, in bytes.
        length: usize,
    },
    /// It doesn't begin with [`MAGIC`].
    #[error("its first frame begins with {found:02x?} and not with \"OARL\": it's no Oarlock node")]
    Magic {
        /// What it begins with.
        found: [u8; 4],
    },
    /// Another version of the protocol.
    #[error(
        "it speaks version {theirs} of the protocol where this node speaks {PROTOCOL_VERSION}: run the same release on both"
    )]
    Version {
        /// The other's version.
        theirs: u16,
    },
    /// The bytes changed on their way.
    #[error("the checksum of its hello doesn't fit: it was damaged on its way")]
    Checksum,
    /// A field is missing, too long or holds what it may not.
    #[error(
        "the {field} of its hello is missing or not valid: it's no Oarlock node, or a broken one"
    )]
    Field {
        /// Which.
        field: &'static str,
    },
}

impl HelloRefusal {
    /// A refusal in so many words.
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
        Self::new(
            reason,
            format!("who connected can't be understood: {error}"),
        )
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
            code => Self::Other(code),
        }
    }
}

impl Hello {
    /// Whether the node `own` of `cluster_id` may talk to whom this introduces. `is_peer` knows its peers.
    ///
    /// # Errors
    /// A refusal to send back: another cluster, the node itself, meant for another node, not a peer.
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
                "node {node_id} belongs to cluster {theirs:?} and node {own} to cluster {cluster_id:?}: correct an address"
            );
            return refuse(HelloRefusalReason::OtherCluster, detail);
        }
        if node_id == own {
            let detail = format!(
                "both ends are called {own}: a node has its own address as a peer's, or two share an id"
            );
            return refuse(HelloRefusalReason::Oneself, detail);
        }
        if peer_id != own {
            let detail = format!(
                "node {node_id} looks for node {peer_id} and reached node {own}: correct an address"
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

impl Handshake {
    /// The frame, length included. A text that is longer than its field allows is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; LENGTH_BYTES];
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&PROTOCOL_VERSION.to_be_bytes());
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
            }
            Self::Refusal(refusal) => {
                out.push(KIND_REFUSAL);
                out.push(refusal.reason.code());
                put_text(&mut out, &refusal.detail, MAX_DETAIL_BYTES);
            }
        }
        let checksum = crc32c::crc32c(&out[LENGTH_BYTES..]);
        out.extend_from_slice(&checksum.to_be_bytes());
        // The fields' limits keep it far below 2^32.
        let length = (out.len() - LENGTH_BYTES) as u32;
        out[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        out
    }

    /// Reads an opening's length, before any memory is spent on it.
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

    /// Reads what follows the length.
    ///
    /// # Errors
    /// Anything but exactly one opening of this version, or a refusal of any version.
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
        // A hello of another version may have its checksum elsewhere.
        if theirs != PROTOCOL_VERSION && kind != KIND_REFUSAL {
            return Err(HelloError::Version { theirs });
        }
        if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
            return Err(HelloError::Checksum);
        }
        let opening = match kind {
            KIND_HELLO => Self::Hello(fields.hello()?),
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

fn put_text(out: &mut Vec<u8>, text: &str, max_bytes: usize) {
    let text = &text[..text.floor_char_boundary(max_bytes)];
    // Each limit fits a u16.
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// What is left to read.
struct HelloFields<'a> {
    rest: &'a [u8],
}

impl HelloFields<'_> {
    fn hello(&mut self) -> Result<Hello, HelloError> {
        Ok(Hello {
            cluster_id: self.text("cluster id", MAX_CLUSTER_ID_BYTES)?,
            node_id: self.node_id("node id")?,
            peer_id: self.node_id("peer id")?,
            client_addr: self.text("client address", MAX_CLIENT_ADDR_BYTES)?,
        })
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

    /// A text without control characters: it ends up in log lines.
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
