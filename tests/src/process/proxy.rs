//! A connection between each two nodes that can be cut in one direction, like a firewall that drops packets. Sent bytes wait,
//! and arrive if the cut ends before one side closes the connection.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::cluster::Cluster;

/// All wires, by sender and receiver of what travels: true where it is cut.
pub struct Wires {
    cuts: BTreeMap<(usize, usize), watch::Sender<bool>>,
}

impl Wires {
    /// Puts wires between the nodes of a cluster that has not been started.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn between(cluster: &mut Cluster) -> Self {
        let count = cluster.nodes.len();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        let cuts = pairs.map(|pair| (pair, watch::Sender::new(false)));
        let wires = Self {
            cuts: cuts.collect(),
        };
        for from in 0..count {
            let mut seen = Vec::new();
            for to in 0..count {
                let address = cluster.nodes[to].peer_addr().to_owned();
                let seen_at = if from == to {
                    address
                } else {
                    wires.lay(from, to, address).await
                };
                seen.push(format!("{}={seen_at}", cluster.nodes[to].id()));
            }
            let options = cluster.nodes[from].options_mut();
            options.cluster = seen.join(",");
            // Each node has a list of its own, and a cluster is else named after that.
            options
                .args
                .extend(["--cluster-id".to_owned(), "wired".to_owned()]);
        }
        wires
    }

    /// A port by which `from` reaches `to`, whose own address that is.
    async fn lay(&self, from: usize, to: usize, address: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("a bound port").to_string();
        let there = self.cuts[&(from, to)].subscribe();
        let back = self.cuts[&(to, from)].subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // Without a listener the connection ends as it would without the proxy.
                let Ok(far) = TcpStream::connect(&address).await else {
                    continue;
                };
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near.0, far.1, there.clone()));
                tokio::spawn(carry(far.0, near.1, back.clone()));
            }
        });
        port
    }

    /// What `from` sends does not reach `to` any more.
    pub fn cut(&self, from: usize, to: usize) {
        self.cuts[&(from, to)].send_replace(true);
    }

    /// All connections work again.
    pub fn heal(&self) {
        for cut in self.cuts.values() {
            cut.send_replace(false);
        }
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&buffer[..length]).await.is_err()
        {
            break;
        }
    }
    // Signals the end to the other side. It may be closed already, which is harmless.
    let _ = to.shutdown().await;
}
