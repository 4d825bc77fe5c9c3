//! The notation of a peer's address: `id`, `host:port` or `id@host:port`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

use crate::ids::NodeId;

#[cfg(test)]
mod tests;

/// The port of an address without a port.
pub const DEFAULT_PORT: u16 = 7101;

/// Longest node id, in bytes.
pub const MAX_ID_BYTES: usize = 255;

/// Longest host name, in bytes (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// The id of a node and the address that it listens on for its peers.
///
/// Without `id@`, the text itself is the node id: `node1` is the node "node1" on the host `node1`, `10.0.0.7:7101` is
/// the node "10.0.0.7:7101".
///
/// ```
/// use task_queue_raft::address::PeerAddress;
///
/// let peer: PeerAddress = "node2@10.0.0.7:7102".parse()?;
/// assert_eq!((peer.id.as_str(), peer.host.as_str(), peer.port), ("node2", "10.0.0.7", 7102));
/// let peer: PeerAddress = "node2".parse()?;
/// assert_eq!((peer.id.as_str(), peer.host.as_str(), peer.port), ("node2", "node2", 7101));
/// # Ok::<(), task_queue_raft::address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// The node id, unique in the cluster.
    pub id: NodeId,
    /// Host name or IP address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text is not a valid address of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// The text is empty, or nothing is before the `@`.
    #[error("the peer {text:?} has no node id: write `id`, `host:port` or `id@host:port`")]
    NoId {
        /// The complete input.
        text: String,
    },
    /// The id is too long, or it contains a character that is not allowed.
    #[error(
        "the node id in {text:?} is not valid: use 1 to {MAX_ID_BYTES} visible ASCII characters other than `@` and `,`"
    )]
    BadId {
        /// The complete input.
        text: String,
    },
    /// The host is empty, too long, or contains a character that is not allowed in a host name.
    #[error(
        "the host in {text:?} is not valid: write a host name, an IPv4 address or an IPv6 address in brackets"
    )]
    BadHost {
        /// The complete input.
        text: String,
    },
    /// There are two or more colons outside of brackets.
    #[error(
        "the address in {text:?} has several colons: write an IPv6 address in brackets, as in `[::1]:7101`"
    )]
    UnbracketedIpv6 {
        /// The complete input.
        text: String,
    },
    /// The port is not a number from 1 to 65535.
    #[error("the port in {text:?} is not valid: use a number from 1 to 65535")]
    BadPort {
        /// The complete input.
        text: String,
    },
}

impl PeerAddress {
    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn host_port(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (id, host_port) = match text.split_once('@') {
            Some((id, host_port)) => (id, host_port),
            None => (text, text),
        };
        if id.is_empty() {
            return Err(AddressError::NoId { text: text.into() });
        }
        if !is_valid_id(id) {
            return Err(AddressError::BadId { text: text.into() });
        }
        let (host, port) = parse_host_port(host_port, text)?;
        Ok(Self {
            id: id.into(),
            host: host.into(),
            port,
        })
    }
}

/// The shortest text that parses to the same address.
impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host_port = self.host_port();
        let bare = self.port == DEFAULT_PORT && self.id.as_str() == bracketed(&self.host);
        if bare || self.id.as_str() == host_port {
            return self.id.fmt(f);
        }
        write!(f, "{}@{host_port}", self.id)
    }
}

/// Whether `id` is a valid node id: 1 to [`MAX_ID_BYTES`] visible ASCII characters other than `@` and `,`.
#[must_use]
pub fn is_valid_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'@' && b != b',')
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`. `text` is the complete input, for the error.
fn parse_host_port<'a>(host_port: &'a str, text: &str) -> Result<(&'a str, u16), AddressError> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or_else(|| AddressError::BadHost { text: text.into() })?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| AddressError::BadHost { text: text.into() })?;
            let port = match after {
                "" => None,
                after => Some(
                    after
                        .strip_prefix(':')
                        .ok_or_else(|| AddressError::BadPort { text: text.into() })?,
                ),
            };
            (host, port)
        }
        None => match host_port.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(AddressError::UnbracketedIpv6 { text: text.into() });
            }
            Some((host, port)) => (checked_host(host, text)?, Some(port)),
            None => (checked_host(host_port, text)?, None),
        },
    };
    Ok((
        host,
        port.map_or(Ok(DEFAULT_PORT), |port| parse_port(port, text))?,
    ))
}

fn checked_host<'a>(host: &'a str, text: &str) -> Result<&'a str, AddressError> {
    let fits = (1..=MAX_HOST_BYTES).contains(&host.len());
    let valid = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if fits && valid {
        Ok(host)
    } else {
        Err(AddressError::BadHost { text: text.into() })
    }
}

fn parse_port(port: &str, text: &str) -> Result<u16, AddressError> {
    // `u16::from_str` also accepts "+80".
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(AddressError::BadPort { text: text.into() }),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.into()
    }
}
