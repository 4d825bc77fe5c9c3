//! The sockets of the demo's nodes, taken before anything is started.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use tokio::net::TcpSocket;

use crate::exit::Failure;

/// From the base to the first port for peers, and to the first port for clients.
const PEERS: u16 = 1;
const CLIENTS: u16 = 1001;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// The two sockets of a node.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) peers: TcpListener,
    pub(super) peer_addr: SocketAddr,
    pub(super) clients: TcpListener,
    pub(super) client_addr: SocketAddr,
}

/// Takes the ports of so many nodes on loopback. Without a base, the system chooses.
///
/// # Errors
/// One is taken; the words name it and say how to choose others.
pub(super) fn take(base: Option<u16>, nodes: u16) -> Result<Vec<Pair>, Failure> {
    (0..nodes).map(|position| pair(base, position)).collect()
}

fn pair(base: Option<u16>, position: u16) -> Result<Pair, Failure> {
    let (peers, peer_addr) = listen(port(base, PEERS, position), base)?;
    let (clients, client_addr) = listen(port(base, CLIENTS, position), base)?;
    Ok(Pair {
        peers,
        peer_addr,
        clients,
        client_addr,
    })
}

/// 0, which lets the system choose, where there is no base.
fn port(base: Option<u16>, offset: u16, position: u16) -> u16 {
    base.map_or(0, |base| {
        base.saturating_add(offset).saturating_add(position)
    })
}

fn listen(port: u16, base: Option<u16>) -> Result<(TcpListener, SocketAddr), Failure> {
    let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let open = || {
        let socket = TcpSocket::new_v4()?;
        // Connections of a former run may linger; they are no reason not to start.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|error: std::io::Error| {
        let other = if base.is_some_and(|base| base < 30_000) { base.unwrap_or(0) + 20_000 } else { 9100 };
        Failure::failed(format!(
            "the demo needs the port {port} of 127.0.0.1 and can't have it: {error}; stop what uses it, or choose \
             other ports with --base-port {other}"
        ))
    })
}

#[cfg(test)]
mod tests;
