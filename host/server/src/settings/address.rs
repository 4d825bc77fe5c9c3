//! Addresses to listen on: `host:port`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

/// Longest host name, in bytes (RFC 1035 §2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// A host and a port. Port 0 lets the operating system choose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

/// A text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ListenAddressError {
    /// The port is missing.
    #[error("the address {0:?} has no port; write host:port, for example 127.0.0.1:8101")]
    NoPort(String),
    /// The port is not a number, or too large.
    #[error("the address {0:?} has no valid port; use a number from 0 to 65535 (0: any free port)")]
    BadPort(String),
    /// The host is not valid.
    #[error(
        "the address {0:?} has no valid host; use a host name, an IPv4 address, or an IPv6 address in brackets"
    )]
    BadHost(String),
}

impl FromStr for HostPort {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, ListenAddressError> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| ListenAddressError::NoPort(text.to_owned()))?;
        let bad_host = || ListenAddressError::BadHost(text.to_owned());
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let host = rest.strip_suffix(']').ok_or_else(bad_host)?;
                host.parse::<Ipv6Addr>().map_err(|_| bad_host())?;
                host
            }
            None => host,
        };
        let plain = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let bracketed = text.starts_with('[');
        if host.is_empty() || host.len() > MAX_HOST_BYTES || !(plain || bracketed) {
            return Err(bad_host());
        }
        // `u16::from_str` accepts "+80".
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if digits => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(ListenAddressError::BadPort(text.to_owned())),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
