//! One beanstalkd that syncs its binlog after every write.

use std::process::Command;

use oarlock_tests::process::free_ports;
use tempfile::TempDir;

use super::broker::{Broker, LEASE_MS, QueueServer, WAIT_MS};
use super::servers::{Servers, Wire, runs, until_it_listens};

/// Printed where there is none.
pub(super) const HOW_TO_GET: &str = "beanstalkd is not installed, so nothing is compared with it; on Debian: apt-get install beanstalkd";

/// Whether it is installed.
pub(super) fn installed() -> bool {
    runs("beanstalkd", "-v")
}

/// The server; killed when dropped.
pub(super) struct Beanstalkd {
    servers: Servers,
    address: String,
    _dir: TempDir,
}

impl Beanstalkd {
    /// Starts it.
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let port = free_ports(1)[0];
        let mut servers = Servers::new();
        let mut command = Command::new("beanstalkd");
        command
            .args(["-l", "127.0.0.1", "-p", &port.to_string(), "-f0", "-b"])
            .arg(dir.path());
        servers.start(&mut command, &dir.path().join("log"));
        let address = format!("127.0.0.1:{port}");
        until_it_listens(&address).await;
        Self {
            servers,
            address,
            _dir: dir,
        }
    }
}

impl QueueServer for Beanstalkd {
    type Client = BeanstalkdClient;

    fn pids(&self) -> Vec<u32> {
        self.servers.pids()
    }

    async fn client(&self, queue: &str, payload: usize) -> Result<Self::Client, String> {
        let mut wire = Wire::open(&self.address).await?;
        let greeting = format!("use {queue}\r\nwatch {queue}\r\nignore default\r\n");
        wire.send(greeting.as_bytes()).await?;
        for word in ["USING", "WATCHING", "WATCHING"] {
            expect(&wire.line().await?, word)?;
        }
        let body = crate::oarlock::payload(payload);
        let ttr_s = LEASE_MS / 1000;
        let put = format!("put 0 0 {ttr_s} {}\r\n{body}\r\n", body.len());
        Ok(BeanstalkdClient { wire, put })
    }
}

/// A connection, and the message that puts a task.
pub(super) struct BeanstalkdClient {
    wire: Wire,
    put: String,
}

impl Broker for BeanstalkdClient {
    async fn put(&mut self) -> Result<(), String> {
        self.wire.send(self.put.as_bytes()).await?;
        expect(&self.wire.line().await?, "INSERTED").map(drop)
    }

    async fn take_and_end(&mut self) -> Result<(), String> {
        let reserve = format!("reserve-with-timeout {}\r\n", WAIT_MS / 1000);
        self.wire.send(reserve.as_bytes()).await?;
        let reserved = self.wire.line().await?;
        let fields = expect(&reserved, "RESERVED")?;
        let Some((id, Ok(length))) = fields
            .split_once(' ')
            .map(|(id, length)| (id, length.parse::<usize>()))
        else {
            return Err(reserved);
        };
        self.wire.bytes(length + "\r\n".len()).await?;
        self.wire
            .send(format!("delete {id}\r\n").as_bytes())
            .await?;
        expect(&self.wire.line().await?, "DELETED").map(drop)
    }
}

/// What follows the word that is expected.
fn expect<'a>(line: &'a str, word: &str) -> Result<&'a str, String> {
    let rest = line.strip_prefix(word).map(str::trim_start);
    rest.ok_or_else(|| line.to_owned())
}
