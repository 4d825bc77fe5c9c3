//! Three `RabbitMQ` nodes with quorum queues.

use std::path::Path;
use std::process::{Command, Stdio};

use oarlock_tests::process::{eventually, free_ports};
use tempfile::TempDir;

use super::amqp::Amqp;
use super::broker::{Broker, QueueServer};
use super::servers::{Servers, until_it_listens};

/// Printed where there is none.
pub(super) const HOW_TO_GET: &str = "RabbitMQ is not installed, so nothing is compared with it; on Debian: apt-get install rabbitmq-server";

/// Where the package has its programs. Those on the path change to another user.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// Whether it is installed.
pub(super) fn installed() -> bool {
    Path::new(PROGRAMS).join("rabbitmq-server").exists()
}

/// Three nodes; killed when dropped.
pub(super) struct RabbitMq {
    servers: Servers,
    clients: Vec<String>,
    /// Port of the name service that the first node has started.
    epmd: u16,
    _dir: TempDir,
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        let mut command = Command::new("epmd");
        command.args(["-port", &self.epmd.to_string(), "-kill"]);
        // It refuses while a node runs; the nodes are killed after this.
        command.env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1");
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl RabbitMq {
    /// Starts them, and joins them to one cluster.
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ports = free_ports(7);
        let (epmd, ports) = (ports[0], &ports[1..]);
        let mut servers = Servers::new();
        let mut clients = Vec::new();
        for (at, pair) in ports.chunks(2).enumerate() {
            let mut command = program("rabbitmq-server", dir.path(), epmd, at);
            command
                .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
                .env("RABBITMQ_NODE_PORT", pair[0].to_string())
                .env("RABBITMQ_DIST_PORT", pair[1].to_string());
            servers.start(&mut command, &dir.path().join(format!("log-{at}")));
            clients.push(format!("127.0.0.1:{}", pair[0]));
            // The first one writes the secret that all share.
            until_it_listens(&clients[at]).await;
        }
        for at in 1..3 {
            for arguments in [
                &["stop_app"][..],
                &["join_cluster", "bench0@localhost"],
                &["start_app"],
            ] {
                control(dir.path(), epmd, at, arguments).await;
            }
        }
        Self {
            servers,
            clients,
            epmd,
            _dir: dir,
        }
    }
}

impl QueueServer for RabbitMq {
    type Client = RabbitMqClient;

    fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    /// Connects to the node that has declared the queue first, and so leads it.
    async fn client(&self, queue: &str, payload: usize) -> Result<Self::Client, String> {
        let mut amqp = Amqp::open(&self.clients[0]).await?;
        amqp.declare_quorum(queue).await?;
        Ok(RabbitMqClient {
            amqp,
            queue: queue.to_owned(),
            payload: crate::oarlock::payload(payload),
        })
    }
}

/// One of its programs, for the node at that position.
fn program(name: &str, dir: &Path, epmd: u16, at: usize) -> Command {
    let mut command = Command::new(Path::new(PROGRAMS).join(name));
    command
        .env("HOME", dir)
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // The program becomes the node instead of starting it.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("RABBITMQ_NODENAME", format!("bench{at}@localhost"))
        .env("RABBITMQ_MNESIA_BASE", dir.join(format!("data-{at}")))
        .env("RABBITMQ_LOG_BASE", dir.join(format!("logs-{at}")))
        .env("RABBITMQ_CONFIG_FILE", dir.join("none"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"));
    command
}

/// Runs a command of an operator until it succeeds.
async fn control(dir: &Path, epmd: u16, at: usize, arguments: &[&str]) {
    let what = format!("rabbitmqctl {}", arguments.join(" "));
    eventually(&what, async || {
        let done = program("rabbitmqctl", dir, epmd, at)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        done.status.success().then_some(())
    })
    .await;
}

/// A connection to the leader of the queue.
pub(super) struct RabbitMqClient {
    amqp: Amqp,
    queue: String,
    payload: String,
}

impl Broker for RabbitMqClient {
    async fn put(&mut self) -> Result<(), String> {
        self.amqp
            .publish(&self.queue, self.payload.as_bytes())
            .await
    }

    /// The acknowledgement has no response, so this side's cycle ends when it is sent.
    async fn take_and_end(&mut self) -> Result<(), String> {
        let tag = self.amqp.get(&self.queue).await?;
        self.amqp.ack(tag.ok_or("no message")?).await
    }
}
