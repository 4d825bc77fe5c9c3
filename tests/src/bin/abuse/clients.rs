//! The other clients: commands and queries in turn, one after the other on each connection.

use std::fmt;
use std::time::{Duration, Instant};

use oarlock_tests::http::connection::Connection;
use oarlock_tests::process::Http;

/// Connections.
const CONNECTIONS: usize = 16;

/// How long requests took.
pub(super) struct Latencies {
    sorted: Vec<Duration>,
    failed: usize,
    took: Duration,
}

impl Latencies {
    /// So many of them took at most this long.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let at = (last as f64 * share).ceil() as usize;
        self.sorted.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} requests/s, p50 {:?}, p99 {:?}, p99.9 {:?}, {} without success",
            self.sorted.len() as f64 / self.took.as_secs_f64(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(0.999),
            self.failed
        )
    }
}

/// Open connections.
pub(super) struct Load {
    connections: Vec<Connection>,
    address: String,
    command: &'static [u8],
    query: &'static [u8],
}

impl Load {
    pub(super) async fn open(http: &Http, guest: &str) -> Self {
        let (command, query): (&[u8], &[u8]) = if guest == "kv" {
            (
                br#"{"put":{"key":"k","value":"v"}}"#,
                br#"{"get":{"key":"k"}}"#,
            )
        } else {
            (br#"{"add":{"by":1}}"#, br#"{"get":{}}"#)
        };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(&http.0).await.expect("it listens"));
        }
        Self {
            connections,
            address: http.0.clone(),
            command,
            query,
        }
    }

    /// Sends requests for this long.
    pub(super) async fn run(self, time: Duration) -> (Self, Latencies) {
        let Self {
            connections,
            address,
            command,
            query,
        } = self;
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for connection in connections {
            let address = address.clone();
            tasks.push(tokio::spawn(async move {
                one(connection, &address, [command, query], begun + time).await
            }));
        }
        let (mut connections, mut sorted, mut failed) = (Vec::new(), Vec::new(), 0);
        for task in tasks {
            let (connection, took, failures) = task.await.expect("no panic");
            connections.push(connection);
            sorted.extend(took);
            failed += failures;
        }
        sorted.sort_unstable();
        let latencies = Latencies {
            sorted,
            failed,
            took: begun.elapsed(),
        };
        let load = Self {
            connections,
            address,
            command,
            query,
        };
        (load, latencies)
    }
}

async fn one(
    mut connection: Connection,
    address: &str,
    bodies: [&'static [u8]; 2],
    end: Instant,
) -> (Connection, Vec<Duration>, usize) {
    let heads = ["/v1/apply", "/v1/query"]
        .map(|path| format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n").into_bytes());
    let (mut took, mut failed) = (Vec::new(), 0);
    while Instant::now() < end {
        for (head, body) in heads.iter().zip(bodies) {
            let begun = Instant::now();
            connection.push(head, body);
            let response = match connection.send().await {
                Ok(()) => connection.receive(false).await,
                Err(error) => Err(error.to_string()),
            };
            match response {
                Ok(response) => {
                    failed += usize::from(response.status != 200);
                    took.push(begun.elapsed());
                }
                Err(_) => {
                    failed += 1;
                    if let Ok(again) = Connection::open(address).await {
                        connection = again;
                    }
                }
            }
        }
    }
    (connection, took, failed)
}
