//! The sockets of the nodes, bound before any node starts.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use tokio::net::TcpSocket;

use crate::exit::Failure;

/// Offset of the first port for peers, and of the first port for clients.
const PEERS: u16 = 1;
const CLIENTS: u16 = 1001;

/// Length of the queue of connections to accept.
const BACKLOG: u32 = 4096;

/// The two sockets of a node.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) peers: TcpListener,
    pub(super) peer_addr: SocketAddr,
    pub(super) clients: TcpListener,
    pub(super) client_addr: SocketAddr,
}

/// Binds the ports of `nodes` nodes on loopback. Without a base, any free ports.
///
/// # Errors
/// A port is in use.
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

/// Port 0 lets the operating system choose.
fn port(base: Option<u16>, offset: u16, position: u16) -> u16 {
    base.map_or(0, |base| {
        base.saturating_add(offset).saturating_add(position)
    })
}

fn listen(port: u16, base: Option<u16>) -> Result<(TcpListener, SocketAddr), Failure> {
    let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let open = || {
        let socket = TcpSocket::new_v4()?;
        // Connections of an earlier run may be in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|error: std::io::Error| {
        let other = if base.is_some_and(|base| base < 30_000) { base.unwrap_or(0) + 20_000 } else { 9100 };
        Failure::failed(format!(
            "cannot listen on 127.0.0.1:{port}: {error}; stop the program that uses the port, or choose other ports \
             with --base-port {other}"
        ))
    })
}

#[cfg(test)]
mod tests;
