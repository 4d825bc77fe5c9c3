//! Addresses of nodes.

use std::fmt;
use std::str::FromStr;

use hyper::http::uri::Authority;
use thiserror::Error;

/// The client address of a node: `host:port`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Authority);

/// A text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// The list is empty.
    #[error(
        "the list of endpoints is empty; give at least one host:port, several separated by commas"
    )]
    Empty,
    /// The text cannot be parsed.
    #[error(
        "the endpoint `{text}` is not valid: {reason}; write host:port, for example 127.0.0.1:8101"
    )]
    Invalid {
        /// The text.
        text: String,
        /// Why it is not valid.
        reason: &'static str,
    },
}

impl Endpoint {
    /// Parses a list separated by commas: `127.0.0.1:8101,127.0.0.1:8102`. Duplicates are dropped.
    ///
    /// # Errors
    /// The list is empty, or a part cannot be parsed.
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

    pub(crate) fn authority(&self) -> &Authority {
        &self.0
    }

    /// The text `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Parses `host:port` or `http://host:port`.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let invalid = |reason| EndpointError::Invalid {
            text: text.chars().take(100).collect(),
            reason,
        };
        if text.starts_with("https://") {
            return Err(invalid(
                "whether TLS is used does not depend on the endpoint, but on the certificates of the client",
            ));
        }
        let bare = text.strip_prefix("http://").unwrap_or(text);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let authority: Authority = bare
            .parse()
            .map_err(|_| invalid("it does not have the form host:port"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("it contains a user name"));
        }
        if authority.host().is_empty() {
            return Err(invalid("the host is missing"));
        }
        match authority.port_u16() {
            None => Err(invalid("the port is missing or too large")),
            Some(0) => Err(invalid("port 0 cannot be reached")),
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
