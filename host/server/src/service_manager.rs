//! Messages to the service manager that has started this process (systemd, `Type=notify`): the node serves, it stops, it is alive. The
//! protocol is a datagram to the socket in `NOTIFY_SOCKET` (sd_notify(3)); without one, there is no manager and nothing is sent.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket of the manager.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How long the manager waits for a sign of life, in microseconds.
const WATCHDOG: &str = "WATCHDOG_USEC";

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceState {
    /// The node accepts clients.
    Ready,
    /// The node stops.
    Stopping,
    /// The process is alive.
    Alive,
}

impl ServiceState {
    fn message(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Stopping => b"STOPPING=1",
            Self::Alive => b"WATCHDOG=1",
        }
    }
}

/// Tells the manager, if there is one. The node goes on if the manager can't be told.
pub(crate) fn notify(state: ServiceState) {
    let Some(socket) = env::var_os(SOCKET) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, ?state, "cannot notify the service manager: it may stop this process");
    }
}

fn send(socket: &OsStr, state: ServiceState) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        // A name without a file (unix(7)).
        #[cfg(target_os = "linux")]
        Some((b'@', name)) => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)?
        }
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sent = UnixDatagram::unbound()?.send_to_addr(state.message(), &address)?;
    debug_assert_eq!(sent, state.message().len(), "a datagram is sent completely");
    Ok(())
}

/// How often the manager wants a sign of life: half of what it waits. `None`: never.
fn watchdog_pause(value: Option<&str>) -> Option<Duration> {
    let waits: u64 = value?.parse().ok()?;
    (waits > 0).then(|| Duration::from_micros(waits / 2))
}

/// Tells the manager again and again that the process is alive, if it wants to know. The runtime of the node runs this: a runtime that
/// does not run any more tells nothing, and the manager restarts the process.
pub(crate) async fn stay_alive() {
    let wanted = env::var(WATCHDOG).ok();
    let Some(pause) = watchdog_pause(wanted.as_deref()) else {
        return;
    };
    let mut again = tokio::time::interval(pause.max(Duration::from_millis(1)));
    loop {
        again.tick().await;
        notify(ServiceState::Alive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_datagram() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        for state in [
            ServiceState::Ready,
            ServiceState::Alive,
            ServiceState::Stopping,
        ] {
            send(path.as_os_str(), state).expect("sent");
            let mut buffer = [0; 64];
            let length = manager.recv(&mut buffer).expect("a datagram");
            assert_eq!(&buffer[..length], state.message());
        }
        drop(manager);
        send(path.as_os_str(), ServiceState::Ready).expect_err("no one listens");
    }

    #[test]
    fn a_sign_of_life_comes_twice_in_the_time_that_the_manager_waits() {
        let pause = |value| watchdog_pause(Some(value));
        assert_eq!(pause("30000000"), Some(Duration::from_secs(15)));
        assert_eq!(pause("0"), None);
        assert_eq!(pause("soon"), None);
        assert_eq!(watchdog_pause(None), None);
    }
}
