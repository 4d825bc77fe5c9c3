//! Where a node takes requests of clients.

use std::fmt;
use std::str::FromStr;

use hyper::http::uri::Authority;
use thiserror::Error;

/// The client address of a node: `host:port`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Authority);

/// Text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// There is none.
    #[error("no endpoint is given; write host:port, several with commas between them")]
    Empty,
    /// It can't be read.
    #[error("`{text}` is no endpoint: {reason}; write host:port, such as 127.0.0.1:8101")]
    Invalid {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Endpoint {
    /// Reads a list with commas between its parts: `127.0.0.1:8101,127.0.0.1:8102`. One that is named twice counts once.
    ///
    /// # Errors
    /// Where the list is empty or a part can't be read.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EndpointError> {
        let mut endpoints = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let endpoint = part.parse()?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.is_empty() {
            Err(EndpointError::Empty)
        } else {
            Ok(endpoints)
        }
    }

    /// It as a part of a URI.
    pub(crate) fn authority(&self) -> &Authority {
        &self.0
    }

    /// It as text: `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `host:port` or `http://host:port`.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let invalid = |reason| EndpointError::Invalid {
            text: text.chars().take(100).collect(),
            reason,
        };
        if text.starts_with("https://") {
            return Err(invalid("nodes speak HTTP without TLS"));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let authority: Authority = bare
            .parse()
            .map_err(|_| invalid("it is not of the form host:port"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("a user name has no meaning here"));
        }
        if authority.host().is_empty() {
            return Err(invalid("the host is missing"));
        }
        match authority.port_u16() {
            None => Err(invalid("the port is missing or too large")),
            Some(0) => Err(invalid("port 0 can't be reached")),
            Some(_) => Ok(Self(authority)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
