//! The hosts of a node: which values of the header `Host` name it, and which hosts are of the loopback interface.

use std::net::IpAddr;

/// The names and addresses under which a node answers, besides those of the loopback interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnHosts {
    /// A few, compared without regard to case.
    names: Vec<String>,
}

impl OwnHosts {
    /// `client_host`: the host that this node announces to clients. `allowed`: the names of `--allow-host`.
    pub(crate) fn new(client_host: &str, allowed: &[String]) -> Self {
        let names = allowed.iter().map(String::as_str).chain([client_host]);
        Self {
            names: names.map(str::to_owned).collect(),
        }
    }

    /// Whether the value of `Host` is a name of this node. `local`: the address to which the client has connected. The port
    /// does not matter: it may be forwarded.
    pub(crate) fn contains(&self, host: &[u8], local: Option<IpAddr>) -> bool {
        let Some(name) = requested(host) else {
            return false;
        };
        let is_named = || is_among(name, &self.names);
        match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || Some(address) == local || is_named(),
            Err(_) => is_local_name(name) || is_named(),
        }
    }
}

/// Whether the value of `Host` has one of these names or addresses.
pub(crate) fn is_named(host: &[u8], names: &[String]) -> bool {
    requested(host).is_some_and(|name| is_among(name, names))
}

/// The name or address in the value of `Host`.
fn requested(host: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(host).ok().and_then(host_name)?;
    Some(name.strip_suffix('.').unwrap_or(name))
}

fn is_among(name: &str, names: &[String]) -> bool {
    names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Whether a host is one of the loopback interface, without asking a name server.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    host.parse::<IpAddr>()
        .map_or_else(|_| is_local_name(host), |address| address.is_loopback())
}

/// `localhost` and the names below it (RFC 6761 §6.3).
fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let (start, last) = name.rsplit_once('.').unwrap_or(("localhost", name));
    !start.is_empty() && last.eq_ignore_ascii_case("localhost")
}

/// The name or address in `host` or `host:port`, without brackets.
pub(crate) fn host_name(authority: &str) -> Option<&str> {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() {
                ""
            } else {
                rest.strip_prefix(':')?
            };
            (name, port)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    (!name.is_empty() && is_port(port)).then_some(name)
}

#[cfg(test)]
mod tests;
