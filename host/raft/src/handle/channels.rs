//! The channels of a node: events to its driver, and what the driver publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::environment::ThreadEnvironment;
use super::error::FatalError;
use super::seat::{Seat, Seated};
use super::status::{Leadership, Status};
use super::status_log;
use crate::driver::Input;
use crate::node::{self, NetworkEvent};
use crate::raft::Core;
use crate::state_machine::ReplicatedStateMachine;

/// Messages of peers that may wait for the driver, in pages; each message takes at least one page. Past 16,384 messages or
/// 64 MiB, nothing more is read from the connections of the peers.
const MAX_PAGES: u32 = 16_384;
const PAGE_BYTES: usize = 4096;

/// An input as the driver of a running node gets it.
pub(super) type NodeInput<M> = Input<M, ThreadEnvironment<M>>;

/// An event for the driver.
#[allow(
    clippy::large_enum_variant,
    reason = "almost all events are inputs, and a box for each would cost an allocation"
)]
pub(super) enum DriverEvent<M: ReplicatedStateMachine> {
    /// An input. A message of a peer holds its permit until the driver has handled it.
    Input(NodeInput<M>, Option<OwnedSemaphorePermit>),
    /// Another thread of the node has failed.
    Fatal(FatalError),
    /// Stop the node.
    Stop,
}

/// The node is not running.
pub(super) struct NotRunning;

/// Takes events to the driver. The senders bound how many wait: clients by their request permits, peers by pages, and disk
/// and state machine by the tasks that the driver gave them.
pub(super) struct Inbox<M: ReplicatedStateMachine> {
    seat: Arc<Seat<M>>,
    pages: Arc<Semaphore>,
    /// Inputs of clients are accepted only while the node is running.
    running: Arc<AtomicBool>,
}

impl<M: ReplicatedStateMachine> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self {
            seat: Arc::clone(&self.seat),
            pages: Arc::clone(&self.pages),
            running: Arc::clone(&self.running),
        }
    }
}

impl<M: ReplicatedStateMachine> Inbox<M> {
    /// The inbox of a node that is not running yet.
    pub(super) fn new() -> Self {
        Self {
            seat: Arc::new(Seat::new()),
            pages: Arc::new(Semaphore::new(MAX_PAGES as usize)),
            running: Arc::new(AtomicBool::new(false)),
        }
    }

    /// From here on, events get to this driver. Call [`Self::run_driver`] on a thread of its own then.
    pub(super) fn begin(&self, seated: Seated<M>) {
        self.seat.begin(seated);
    }

    /// Takes the driver's turns that no other thread takes, until the node stops.
    pub(super) fn run_driver(&self) {
        self.seat.run();
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
        self.seat.deliver(DriverEvent::Input(input, None))
    }

    /// Delivers an event. A driver that has ended ignores it.
    pub(super) fn notify(&self, event: DriverEvent<M>) {
        let _ = self.seat.deliver(event);
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
                return self.seat.deliver(event).is_ok();
            }
            NetworkEvent::Connected(_) | NetworkEvent::Disconnected(_) => return true,
        };
        let pages = u32::try_from(bytes / PAGE_BYTES + 1)
            .unwrap_or(u32::MAX)
            .min(MAX_PAGES);
        let Ok(permit) = Arc::clone(&self.pages).acquire_many_owned(pages).await else {
            return false;
        };
        let event = DriverEvent::Input(Input::Message(from, message), Some(permit));
        self.seat.deliver(event).is_ok()
    }
}

/// What the driver publishes.
pub(super) struct Publisher {
    pub(super) status: watch::Sender<Status>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) fatal: watch::Sender<Option<FatalError>>,
}

/// Where it can be read.
pub(super) struct Published {
    pub(super) status: watch::Receiver<Status>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) fatal: watch::Receiver<Option<FatalError>>,
}

impl Publisher {
    /// Channels that hold this status, no leader and no error.
    pub(super) fn new(status: Status) -> (Self, Published) {
        let (status_sender, status) = watch::channel(status);
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let (fatal_sender, fatal) = watch::channel(None);
        (
            Self {
                status: status_sender,
                leadership: leadership_sender,
                fatal: fatal_sender,
            },
            Published {
                status,
                leadership,
                fatal,
            },
        )
    }

    /// Publishes the state of the core, if it has changed.
    pub(super) fn publish(&self, core: &Core) {
        self.status.send_if_modified(|status| {
            let before = (status.voting.clone(), status.voters_without_data.clone());
            let clock = status.clock;
            let changed = status.update(core);
            if changed {
                status_log::log_changes(&before.0, &before.1, status);
                status_log::log_clock(clock, status.clock);
            }
            changed
        });
        self.leadership
            .send_if_modified(|leadership| leadership.update(core));
    }
}
