//! The hostile clients.

use std::net::Ipv4Addr;
use std::time::Duration;

use oarlock_tests::process::{Http, forged};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::{Abuse, Options};

/// Bytes of a value that slow readers query.
const LARGE_BYTES: usize = 500_000;
/// Connections that are opened at the same time.
const OPENED_AT_ONCE: usize = 64;

/// The guest of the cluster.
pub(super) fn guest(abuse: Abuse) -> &'static str {
    match abuse {
        Abuse::SlowListeners | Abuse::AbandonedQueries => "faulty",
        _ => "kv",
    }
}

/// Flags of the nodes.
pub(super) fn flags(abuse: Abuse) -> Vec<&'static str> {
    match abuse {
        // An endless query would end by itself.
        Abuse::AbandonedQueries => vec!["--fuel-per-query", "1000000000000000"],
        _ => Vec::new(),
    }
}

/// What the node must have before.
pub(super) async fn prepare(http: &Http, abuse: Abuse) {
    if abuse == Abuse::SlowReaders {
        let put = json!({"put": {"key": "large", "value": "x".repeat(LARGE_BYTES)}});
        let response = http.apply(put.to_string()).await.expect("a response");
        assert_eq!(response.status, 200);
    }
}

/// Hostile clients have another address than the others: a node shares its capacity between addresses.
async fn connect_from_elsewhere(address: &str) -> std::io::Result<TcpStream> {
    let address = address.parse().map_err(std::io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())?;
    socket.connect(address).await
}

/// Hostile clients at work.
pub(super) struct Attack {
    connections: Vec<TcpStream>,
    tasks: Vec<JoinHandle<u16>>,
    abuse: Abuse,
}

impl Attack {
    /// Begins. Connections are open when this returns.
    pub(super) async fn begin(options: &Options, http: &Http, abuse: Abuse) -> Self {
        let mut attack = Self {
            connections: Vec::new(),
            tasks: Vec::new(),
            abuse,
        };
        match abuse {
            Abuse::SlowReaders => {
                let request = post("/v1/query", r#"{"get":{"key":"large"}}"#);
                attack
                    .connect(http, options.connections, request.repeat(4))
                    .await;
            }
            Abuse::SlowListeners => {
                let request = "GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
                attack
                    .connect(http, options.connections, request.to_owned())
                    .await;
                attack.publish(http);
            }
            Abuse::Idle => {
                attack
                    .connect(http, options.connections, String::new())
                    .await;
            }
            Abuse::AbandonedQueries => {
                let request = post("/v1/query", r#"{"spin":{}}"#);
                attack.connect(http, options.queries, request).await;
                attack.connections.clear();
            }
            Abuse::Modules => attack.upload(http, options.modules),
        }
        attack
    }

    async fn connect(&mut self, http: &Http, count: usize, request: String) {
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..count {
            if opening.len() == OPENED_AT_ONCE {
                let opened = opening.join_next().await;
                self.connections
                    .extend(opened.and_then(Result::ok).flatten());
            }
            let (address, request) = (http.0.clone(), request.clone());
            opening.spawn(async move {
                let mut stream = connect_from_elsewhere(&address).await.ok()?;
                stream.write_all(request.as_bytes()).await.ok()?;
                Some(stream)
            });
        }
        while let Some(opened) = opening.join_next().await {
            self.connections.extend(opened.ok().flatten());
        }
    }

    /// Publishes large events until the end.
    fn publish(&mut self, http: &Http) {
        let http = http.clone();
        let emit = json!({"emit": {"topic": "t", "payload": "x".repeat(100_000)}}).to_string();
        self.tasks.push(tokio::spawn(async move {
            loop {
                let response = http.apply(emit.clone()).await;
                if response.is_err() {
                    return 0;
                }
            }
        }));
    }

    fn upload(&mut self, http: &Http, modules: usize) {
        let module = forged::huge_functions(4);
        for _ in 0..modules {
            let (http, module) = (http.clone(), module.clone());
            self.tasks.push(tokio::spawn(async move {
                let response = http.send("POST", "/v1/state-machine", &[], module).await;
                response.map_or(0, |response| response.status)
            }));
        }
    }

    /// Ends. Returns what was done.
    pub(super) async fn end(self) -> String {
        let mut refused = 0;
        for task in self.tasks {
            if self.abuse == Abuse::Modules {
                let waited = tokio::time::timeout(Duration::from_millis(1), task).await;
                refused += usize::from(matches!(waited, Ok(Ok(429))));
            } else {
                task.abort();
            }
        }
        match self.abuse {
            Abuse::Modules => format!("{refused} uploads were refused at once"),
            Abuse::AbandonedQueries => "all clients have disconnected".to_owned(),
            _ => format!("{} connections", self.connections.len()),
        }
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// Waits until the node has done what the hostile clients have requested so far.
pub(super) async fn settled(http: &Http) {
    let is_quiet = |line: &String| {
        !(line.starts_with("oarlock_queries_waiting ")
            || line.starts_with("oarlock_queries_running "))
            || line.ends_with(" 0")
    };
    for _ in 0..600 {
        if metrics(http).await.iter().all(is_quiet) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The metrics that show what the node has done.
pub(super) async fn metrics(http: &Http) -> Vec<String> {
    let Ok(response) = http.get("/metrics").await else {
        return vec!["the node does not respond".to_owned()];
    };
    let names = [
        "oarlock_http_connections",
        "oarlock_http_waiting_bytes",
        "oarlock_queries_",
    ];
    let text = String::from_utf8_lossy(&response.body).into_owned();
    text.lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)))
        .map(str::to_owned)
        .collect()
}
