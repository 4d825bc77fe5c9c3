//! Takes events to the driver of a node, from clients, peers and the node's own threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

use super::channels::{DriverEvent, NodeInput, NotRunning};
use super::shared_driver::{RunningDriver, SharedDriver};
use crate::driver::Input;
use crate::node::{self, NetworkEvent};
use crate::state_machine::ReplicatedStateMachine;

/// Messages of peers that may wait for the driver, in pages; each message takes at least one page. Past 16,384 messages or
/// 64 MiB, nothing more is read from the connections of the peers.
const MAX_PAGES: u32 = 16_384;
const PAGE_BYTES: usize = 4096;

/// Takes events to the driver. The senders bound how many wait: clients by their request permits, peers by pages, and disk
/// and state machine by the tasks that the driver gave them.
pub(super) struct Inbox<M: ReplicatedStateMachine> {
    driver: Arc<SharedDriver<M>>,
    pages: Arc<Semaphore>,
    /// Inputs of clients are accepted only while the node is running.
    running: Arc<AtomicBool>,
}

impl<M: ReplicatedStateMachine> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self {
            driver: Arc::clone(&self.driver),
            pages: Arc::clone(&self.pages),
            running: Arc::clone(&self.running),
        }
    }
}

impl<M: ReplicatedStateMachine> Inbox<M> {
    /// The inbox of a node that is not running yet.
    pub(super) fn new() -> Self {
        Self {
            driver: Arc::new(SharedDriver::new()),
            pages: Arc::new(Semaphore::new(MAX_PAGES as usize)),
            running: Arc::new(AtomicBool::new(false)),
        }
    }

    /// From here on, events get to this driver. Call [`Self::run_driver`] on a thread of its own then.
    pub(super) fn start_driver(&self, driver: RunningDriver<M>) {
        self.driver.start(driver);
    }

    /// Runs the driver where no other thread does, until the node stops.
    pub(super) fn run_driver(&self) {
        self.driver.run();
    }

    /// Inputs of clients are accepted from now on.
    pub(super) fn accept_clients(&self) {
        self.running.store(true, Ordering::Release);
    }

    /// Delivers an input, if the node is running.
    pub(super) fn submit(&self, input: NodeInput<M>) -> Result<(), NotRunning> {
        if !self.running.load(Ordering::Acquire) {
            return Err(NotRunning);
        }
        self.driver.deliver(DriverEvent::Input(input, None))
    }

    /// Delivers an event. A driver that has ended ignores it.
    pub(super) fn notify(&self, event: DriverEvent<M>) {
        let _ = self.driver.deliver(event);
    }
}

impl<M: ReplicatedStateMachine> node::MessageSink for Inbox<M> {
    async fn deliver(&self, event: NetworkEvent) -> bool {
        let (from, message, bytes) = match event {
            NetworkEvent::Message {
                from,
                message,
                bytes,
            } => (from, message, bytes),
            NetworkEvent::Joined(cluster_id) => {
                return self.submit(Input::Joined(cluster_id)).is_ok();
            }
            NetworkEvent::PeerHello(hello) => {
                let event = DriverEvent::Input(Input::PeerHello(Box::new(hello)), None);
                return self.driver.deliver(event).is_ok();
            }
            NetworkEvent::Connected(peer) => {
                // Peers connect before clients are accepted, too.
                let event = DriverEvent::Input(Input::Connected(peer), None);
                return self.driver.deliver(event).is_ok();
            }
            NetworkEvent::Disconnected(_) => return true,
        };
        let pages = u32::try_from(bytes / PAGE_BYTES + 1)
            .unwrap_or(u32::MAX)
            .min(MAX_PAGES);
        let Ok(permit) = Arc::clone(&self.pages).acquire_many_owned(pages).await else {
            return false;
        };
        let event = DriverEvent::Input(Input::Message(from, message), Some(permit));
        self.driver.deliver(event).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::MessageSink;
    use crate::state_machine::MemoryStateMachine;

    /// Otherwise its messages are never sent: the link takes `false` for the end of the node.
    #[tokio::test]
    async fn a_peer_that_connects_before_clients_are_accepted_is_kept() {
        let inbox = Inbox::<MemoryStateMachine>::new();
        assert!(inbox.deliver(NetworkEvent::Connected("n2".into())).await);
    }
}
