//! A cluster of three etcd, from the package of the distribution, and the few messages of its API that are needed.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use oarlock_tests::http::Http;
use oarlock_tests::http::http2::Http2;
use oarlock_tests::process::{eventually, free_ports};
use tempfile::TempDir;

use super::sessions::{Http2Session, MakeBody};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// Printed where there is none.
pub(crate) const HOW_TO_GET: &str =
    "etcd is not installed, so nothing is compared with it; on Debian: apt-get install etcd-server";

/// Three nodes; killed when dropped.
pub(crate) struct Etcd {
    children: Vec<Child>,
    clients: Vec<String>,
    /// Position of the leader.
    leader: usize,
    _dir: TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended by itself is no worse.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Etcd {
    /// Whether it is installed, and which version.
    pub(crate) fn version() -> Option<String> {
        let output = Command::new("etcd").arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.to_owned())
    }

    /// Starts three nodes on free ports, and waits for their leader.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let ports = free_ports(6);
        let (peers, clients) = ports.split_at(3);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let names = ["etcd1", "etcd2", "etcd3"];
        let all: Vec<String> = names
            .iter()
            .zip(peers)
            .map(|(name, peer)| format!("{name}={}", url(peer)))
            .collect();
        let start = |((name, peer), client): ((&&str, &u16), &u16)| {
            let log = File::create(dir.path().join(format!("{name}.log"))).expect("a log file");
            let data: PathBuf = dir.path().join(name);
            Command::new("etcd")
                .args(["--name", name, "--initial-cluster-state", "new"])
                .arg("--data-dir")
                .arg(data)
                .args(["--listen-peer-urls", &url(peer)])
                .args(["--initial-advertise-peer-urls", &url(peer)])
                .args(["--listen-client-urls", &url(client)])
                .args(["--advertise-client-urls", &url(client)])
                .args(["--initial-cluster", &all.join(",")])
                .args(["--log-level", "warn"])
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a second handle"))
                .stderr(log)
                .spawn()
                .expect("etcd starts")
        };
        let children = names.iter().zip(peers).zip(clients).map(start).collect();
        let clients = clients.iter().map(|port| format!("127.0.0.1:{port}"));
        let mut etcd = Self {
            children,
            clients: clients.collect(),
            leader: 0,
            _dir: dir,
        };
        let addresses = etcd.clients.clone();
        etcd.leader = eventually("etcd has a leader", async || leader(&addresses).await).await;
        etcd
    }

    /// Process ids.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// Where clients go: to the leader, or to all in turn.
    pub(crate) fn addresses(&self, spread: bool) -> Vec<String> {
        if spread {
            self.clients.clone()
        } else {
            vec![self.clients[self.leader].clone()]
        }
    }

    /// How often the leader has synced its log.
    pub(crate) async fn syncs(&self) -> u64 {
        let http = Http(self.clients[self.leader].clone());
        let Ok(response) = http.get("/metrics").await else {
            return 0;
        };
        let text = String::from_utf8_lossy(&response.body);
        let name = "etcd_disk_wal_fsync_duration_seconds_count ";
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok())
            .unwrap_or(0)
    }

    /// A client that puts values.
    pub(crate) async fn writer(
        address: &str,
        keys: u64,
        payload: usize,
    ) -> Result<Http2Session, String> {
        let value = super::oarlock::payload(payload);
        let message: MakeBody = Arc::new(move |number| {
            let key = super::oarlock::key(number, keys);
            let mut message = field(1, key.as_bytes());
            message.extend(field(2, value.as_bytes()));
            message
        });
        Http2Session::open(address, PUT, true, message).await
    }

    /// A client that gets values; a range is linearizable by default.
    pub(crate) async fn reader(address: &str, keys: u64) -> Result<Http2Session, String> {
        let message: MakeBody =
            Arc::new(move |number| field(1, super::oarlock::key(number, keys).as_bytes()));
        Http2Session::open(address, RANGE, true, message).await
    }
}

/// Position of the leader.
async fn leader(addresses: &[String]) -> Option<usize> {
    for (at, address) in addresses.iter().enumerate() {
        let mut client = Http2::open(address, STATUS, true).await.ok()?;
        let status = client.call(Vec::new()).await.ok()?;
        // StatusResponse: header = 1 (whose member_id = 2), leader = 4.
        let own = bytes_at(&status, 1).and_then(|header| number_at(header, 2))?;
        if number_at(&status, 4)? == own {
            return Some(at);
        }
    }
    None
}

/// A field of bytes in protobuf.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// A field as it was read.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, until one that is of neither kind.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(length)?;
                rest = after;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn number_at(message: &[u8], wanted: u64) -> Option<u64> {
    fields(message).find_map(|(number, value)| match value {
        Value::Number(value) if number == wanted => Some(value),
        _ => None,
    })
}

fn bytes_at(message: &[u8], wanted: u64) -> Option<&[u8]> {
    fields(message).find_map(|(number, value)| match value {
        Value::Bytes(value) if number == wanted => Some(value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_was_written_is_read() {
        let long = vec![7; 300];
        let mut message = field(1, &long);
        message.extend([0x20, 0x96, 0x01]);
        assert_eq!(bytes_at(&message, 1), Some(&long[..]));
        assert_eq!(number_at(&message, 4), Some(150));
        assert_eq!(
            number_at(&message[..message.len() - 1], 4),
            None,
            "it is cut short"
        );
    }
}
