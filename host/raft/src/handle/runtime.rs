//! A running node: three threads and the network.
//!
//! The driver's thread decides and never waits for anything but its inputs. The disk's thread writes, the
//! machine's thread applies; both do one task after another, in the order in which they were given.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::builder::{Plumbing, RaftBuilder};
use super::open::{OnDamage, open};
use super::{FatalError, Leadership, StartError, Status, notices};
use crate::address::PeerAddress;
use crate::applier::Applier;
use crate::disk::{Disk, DiskDone, DiskStats, DiskTask};
use crate::driver::{Applied, Driver, Environment, Input, MachineTask, SubmitError};
use crate::ids::{Index, NodeId};
use crate::message::{AdminError, Message};
use crate::node::{Network, NetworkConfig, NetworkEvent, NetworkLimits, PeerCheck};
use crate::raft::Core;
use crate::state_machine::ReplicatedStateMachine;
use crate::storage::redb::{Identity, RedbStore};
use crate::storage::repair::is_corrupt;

/// Messages from peers that wait for the driver, in pages: each message takes at least one. Past 64 MiB, or 16,384
/// messages, the peers' connections are no longer read.
const PAGES_WAITING: u32 = 16_384;
const PAGE_BYTES: usize = 4096;
/// Inputs that the driver takes in before it acts on them together.
const INPUTS_A_TURN: usize = 1024;

/// Something for the driver's thread.
pub(super) enum Event<M: ReplicatedStateMachine> {
    Input(Input<M, ThreadEnvironment<M>>, Option<OwnedSemaphorePermit>),
    FatalError(FatalError),
    Stop,
}

pub(super) type Receiver<M> = mpsc::Receiver<Event<M>>;

/// Where inputs for the driver are put. Its length is bounded by those who put: clients have places, peers
/// permits, disk and machine answer only what they were asked.
pub(super) struct Inbox<M: ReplicatedStateMachine> {
    events: mpsc::Sender<Event<M>>,
    permits: Arc<Semaphore>,
    /// The node runs.
    open: Arc<AtomicBool>,
}

impl<M: ReplicatedStateMachine> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self {
            events: self.events.clone(),
            permits: Arc::clone(&self.permits),
            open: Arc::clone(&self.open),
        }
    }
}

/// The node doesn't run.
pub(super) struct Closed;

impl<M: ReplicatedStateMachine> Inbox<M> {
    pub(super) fn new(open: Arc<AtomicBool>) -> (Self, Receiver<M>) {
        let (events, receiver) = mpsc::channel();
        (
            Self {
                events,
                permits: Arc::new(Semaphore::new(PAGES_WAITING as usize)),
                open,
            },
            receiver,
        )
    }

    pub(super) fn put(&self, input: Input<M, ThreadEnvironment<M>>) -> Result<(), Closed> {
        if !self.open.load(Ordering::Acquire) {
            return Err(Closed);
        }
        self.events
            .send(Event::Input(input, None))
            .map_err(|_| Closed)
    }

    /// To a driver that is gone nothing needs to be said.
    fn tell(&self, event: Event<M>) {
        let _ = self.events.send(event);
    }
}

impl<M: ReplicatedStateMachine> crate::node::MessageSink for Inbox<M> {
    async fn deliver(&self, event: NetworkEvent) -> bool {
        let (from, message, bytes) = match event {
            NetworkEvent::Message {
                from,
                message,
                bytes,
            } => (from, message, bytes),
            NetworkEvent::Joined(cluster_id) => return self.put(Input::Joined(cluster_id)).is_ok(),
            NetworkEvent::Connected(_) | NetworkEvent::Disconnected(_) => return true,
        };
        let pages = u32::try_from(bytes / PAGE_BYTES + 1)
            .unwrap_or(u32::MAX)
            .min(PAGES_WAITING);
        let Ok(permit) = Arc::clone(&self.permits).acquire_many_owned(pages).await else {
            return false;
        };
        self.events
            .send(Event::Input(Input::Message(from, message), Some(permit)))
            .is_ok()
    }
}

/// Clients that are answered one by one; more of them in one turn are answered together.
const ANSWERED_SINGLY: usize = 4;

/// A client and what became of its command.
type Answered<M> = (
    oneshot::Sender<Result<Applied<<M as ReplicatedStateMachine>::Reply>, SubmitError>>,
    Result<Applied<<M as ReplicatedStateMachine>::Reply>, SubmitError>,
);

/// The driver's ends as queues to the other threads and to the network.
pub(super) struct ThreadEnvironment<M: ReplicatedStateMachine> {
    /// Where the clients' tasks run.
    tokio: tokio::runtime::Handle,
    /// Clients that are answered at the end of the turn.
    answered: Vec<Answered<M>>,
    disk: mpsc::Sender<DiskTask>,
    machine: mpsc::Sender<MachineTask<M, QueryClient<M>>>,
    network: Arc<Network>,
    /// Where the settings say that the others are reached.
    configured: BTreeMap<NodeId, PeerAddress>,
}

type QueryClient<M> =
    oneshot::Sender<Result<(Index, <M as ReplicatedStateMachine>::Response), SubmitError>>;

/// A thread that is gone has said why through a fault; a client that is gone wants no answer. So the results of
/// sending are of no use here.
impl<M: ReplicatedStateMachine> Environment<M> for ThreadEnvironment<M> {
    type CommandClient = oneshot::Sender<Result<Applied<M::Reply>, SubmitError>>;
    type QueryClient = QueryClient<M>;
    type Operator = oneshot::Sender<Result<Index, AdminError>>;

    fn disk(&mut self, task: DiskTask) {
        let _ = self.disk.send(task);
    }

    fn machine(&mut self, task: MachineTask<M, Self::QueryClient>) {
        let _ = self.machine.send(task);
    }

    fn send(&mut self, to: &NodeId, message: Message) {
        self.network.send(to, message);
    }

    fn reply(
        &mut self,
        client: Self::CommandClient,
        outcome: Result<Applied<M::Reply>, SubmitError>,
    ) {
        self.answered.push((client, outcome));
    }

    fn reject_query(&mut self, client: Self::QueryClient, error: SubmitError) {
        let _ = client.send(Err(error));
    }

    fn complete(&mut self, operator: Self::Operator, outcome: Result<Index, AdminError>) {
        let _ = operator.send(outcome);
    }

    fn set_peers(&mut self, contacts: BTreeMap<NodeId, String>) {
        let address = |(id, address): (NodeId, String)| {
            let known = format!("{id}@{address}").parse().ok();
            // An entry that was made where nobody knew the address leaves it open.
            let known = known.filter(|_| !address.is_empty());
            known.or_else(|| self.configured.get(&id).cloned())
        };
        let peers = contacts.into_iter().filter_map(address).collect();
        self.network.set_peers(peers);
    }

    fn wall_ms(&mut self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl<M: ReplicatedStateMachine> ThreadEnvironment<M> {
    /// Answers the clients of this turn. Waking a task from outside of the runtime takes a lock, and may take a system
    /// call; so where there are many, one task is woken that wakes the others from within.
    fn answer(&mut self) {
        // A client that is gone wants no answer.
        let answer = |(client, outcome): Answered<M>| drop(client.send(outcome));
        if self.answered.len() <= ANSWERED_SINGLY {
            self.answered.drain(..).for_each(answer);
        } else {
            let answered = std::mem::take(&mut self.answered);
            self.tokio
                .spawn(async move { answered.into_iter().for_each(answer) });
        }
    }
}

/// The threads of a node, and how to end them.
pub(super) struct Runtime<M: ReplicatedStateMachine> {
    inbox: Inbox<M>,
    network: Arc<Network>,
    disk: Arc<DiskStats>,
    peer_addr: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl<M: ReplicatedStateMachine> Runtime<M> {
    pub(super) async fn start(
        mut builder: RaftBuilder<M>,
        inbox: &Inbox<M>,
        epoch: Instant,
    ) -> Result<Self, StartError> {
        let (own, peers) = builder.config.validate()?;
        let plumbing = builder.plumbing.take().ok_or(StartError::StartedBefore)?;
        if builder.join && builder.cluster_id.is_empty() {
            let joined = joined_before(builder.data_dir.as_deref()).await;
            builder.cluster_id = match joined {
                // It is set aside below, and the first node that connects says which cluster it is.
                Err(StartError::Storage(error)) if builder.repair && is_corrupt(&error) => {
                    String::new()
                }
                joined => joined?,
            };
        }
        let identity = Identity {
            node_id: own.id.clone(),
            cluster_id: builder.cluster_id.clone(),
        };
        let listener = listen(builder.listener.take(), &builder.config.node_id, &own).await?;
        let peer_addr = listener
            .local_addr()
            .map_err(|source| cannot_listen(&own, source))?;
        let core_config = builder.core_config()?;
        let (data_dir, machine) = (builder.data_dir.take(), builder.machine);
        let on_damage = match (builder.repair, peers.is_empty() && !builder.join) {
            (false, _) => OnDamage::Stop,
            (true, false) => OnDamage::SetAside,
            (true, true) => OnDamage::NobodyElse,
        };
        let opening = move || open(data_dir, &identity, on_damage, machine);
        let opened = tokio::task::spawn_blocking(opening)
            .await
            .map_err(|error| StartError::Thread(std::io::Error::other(error)))??;
        let config = NetworkConfig {
            cluster_id: builder.cluster_id,
            node_id: own.id.clone(),
            listener,
            peers: peers.clone(),
            client_addr: builder.client_addr,
            // A node may hear of a change of members only from a leader that it doesn't know yet.
            peer_check: if builder.join {
                PeerCheck::Join
            } else {
                PeerCheck::Cluster
            },
            limits: NetworkLimits::default(),
        };
        let core = Core::new(
            core_config,
            &opened.stored,
            opened.snapshot,
            opened.last_time_ms,
            epoch.elapsed(),
        );
        let network = Arc::new(Network::start(config, inbox.clone())?);
        inbox.open.store(true, Ordering::Release);
        let stats = opened.disk.stats();
        let (disk, disk_tasks) = mpsc::channel();
        let (machine, machine_tasks) = mpsc::channel();
        let ends = ThreadEnvironment {
            tokio: tokio::runtime::Handle::current(),
            answered: Vec::new(),
            disk,
            machine,
            network: Arc::clone(&network),
            configured: peers
                .into_iter()
                .map(|peer| (peer.id.clone(), peer))
                .collect(),
        };
        let driver = Driver::new(core, ends, builder.driver_limits, random());
        let session = driver.session();
        let Plumbing { inputs, news } = plumbing;
        let threads = [
            thread("raft-disk", inbox, move |inbox| {
                run_disk(opened.disk, &disk_tasks, inbox);
            }),
            thread("raft-apply", inbox, move |inbox| {
                run_machine(opened.applier, session, &machine_tasks, inbox);
            }),
            thread("raft-driver", inbox, move |inbox| {
                run_driver(driver, &inputs, &news, epoch);
                inbox.open.store(false, Ordering::Release);
            }),
        ];
        let threads = threads
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(StartError::Thread)?;
        Ok(Self {
            inbox: inbox.clone(),
            network,
            disk: stats,
            peer_addr,
            threads,
        })
    }

    pub(super) fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    pub(super) fn network(&self) -> Arc<Network> {
        Arc::clone(&self.network)
    }

    pub(super) fn disk(&self) -> Arc<DiskStats> {
        Arc::clone(&self.disk)
    }

    pub(super) async fn stop(mut self) {
        self.inbox.tell(Event::Stop);
        self.network.shutdown().await;
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            // A panic has been reported as a fault already.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        if let Err(error) = joined.await {
            tracing::warn!(%error, "the node's threads could not be joined");
        }
    }
}

impl<M: ReplicatedStateMachine> Drop for Runtime<M> {
    fn drop(&mut self) {
        self.inbox.tell(Event::Stop);
    }
}

/// A number that no other run has: the standard library's own source of randomness, which seeds its hash maps.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

/// The socket for peers: the given one, or the address in the node's id. A bare id that is no host's name can't
/// be reached by others anyway; such a node listens on any port of loopback.
async fn listen(
    given: Option<TcpListener>,
    node_id: &str,
    own: &PeerAddress,
) -> Result<TcpListener, StartError> {
    if let Some(listener) = given {
        return Ok(listener);
    }
    let bare = !node_id.contains([':', '@']);
    let known = tokio::net::lookup_host((own.host.as_str(), own.port)).await;
    let bound = match known {
        Err(error) if bare => {
            tracing::warn!(node = %own.id, %error, "the node's id is no host's name: listening on any port of loopback");
            TcpListener::bind(("127.0.0.1", 0))
        }
        Err(error) => Err(error),
        Ok(addresses) => TcpListener::bind(addresses.collect::<Vec<_>>().as_slice()),
    };
    bound.map_err(|source| cannot_listen(own, source))
}

/// The cluster that a node has joined in an earlier run; empty if none.
async fn joined_before(data_dir: Option<&Path>) -> Result<String, StartError> {
    let Some(dir) = data_dir.map(Path::to_owned) else {
        return Ok(String::new());
    };
    let peeked = tokio::task::spawn_blocking(move || RedbStore::peek(&dir))
        .await
        .map_err(|error| StartError::Thread(std::io::Error::other(error)))?;
    Ok(peeked?.map_or_else(String::new, |identity| identity.cluster_id))
}

fn cannot_listen(own: &PeerAddress, source: std::io::Error) -> StartError {
    StartError::Listen {
        address: own.host_port(),
        source,
    }
}

/// Stack of a node's threads, in bytes: a state machine may recurse deep. What is never used takes no memory.
const STACK_BYTES: usize = 64 << 20;

/// Starts a thread whose panic becomes a fault of the node.
fn thread<M: ReplicatedStateMachine>(
    name: &'static str,
    inbox: &Inbox<M>,
    run: impl FnOnce(&Inbox<M>) + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let inbox = inbox.clone();
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&inbox))) {
                let text = panic.downcast_ref::<String>().cloned();
                let text =
                    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                let message = text.unwrap_or_else(|| "no words".to_owned());
                inbox.tell(Event::FatalError(FatalError::Panic {
                    thread: name,
                    message,
                }));
            }
        })
}

fn run_driver<M: ReplicatedStateMachine>(
    mut driver: Driver<M, ThreadEnvironment<M>>,
    inputs: &Receiver<M>,
    news: &News,
    epoch: Instant,
) {
    loop {
        let wait = driver.next_deadline().saturating_sub(epoch.elapsed());
        let first = match inputs.recv_timeout(wait) {
            Ok(event) => Some(event),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => Some(Event::Stop),
        };
        driver.handle(epoch.elapsed(), Input::Tick);
        let waiting = std::iter::from_fn(|| inputs.try_recv().ok()).take(INPUTS_A_TURN);
        for event in first.into_iter().chain(waiting) {
            match event {
                Event::Input(input, _permit) => driver.handle(epoch.elapsed(), input),
                Event::FatalError(reason) => {
                    tracing::error!(%reason, "the node stops");
                    driver.stop();
                    driver.env_mut().answer();
                    let _ = news.fault.send(Some(reason));
                    return;
                }
                Event::Stop => {
                    driver.stop();
                    driver.env_mut().answer();
                    return;
                }
            }
        }
        driver.turn();
        driver.env_mut().answer();
        news.publish(driver.core());
    }
}

/// What the driver's thread tells everybody.
pub(super) struct News {
    pub(super) status: watch::Sender<Status>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) fault: watch::Sender<Option<FatalError>>,
}

impl News {
    fn publish(&self, core: &Core) {
        self.status.send_if_modified(|status| {
            let before = (status.voting.clone(), status.voters_without_data.clone());
            let news = status.follow(core);
            if news {
                notices::tell(&before.0, &before.1, status);
            }
            news
        });
        self.leadership.send_if_modified(|leadership| {
            let same = leadership.term == core.term()
                && leadership.leader.as_ref() == core.leader()
                && leadership.is_own == core.has_committed_in_term();
            if !same {
                *leadership = Leadership {
                    leader: core.leader().cloned(),
                    term: core.term(),
                    is_own: core.has_committed_in_term(),
                };
            }
            !same
        });
    }
}

fn run_disk<M: ReplicatedStateMachine>(
    mut disk: Disk,
    tasks: &mpsc::Receiver<DiskTask>,
    inbox: &Inbox<M>,
) {
    for task in tasks {
        match disk.run(task) {
            Ok(DiskDone::NoReply) => {}
            Ok(done) => inbox.tell(Event::Input(Input::Disk(done), None)),
            Err(error) => {
                return inbox.tell(Event::FatalError(FatalError::Storage(Arc::new(error))));
            }
        }
    }
}

fn run_machine<M: ReplicatedStateMachine>(
    mut applier: Applier<M>,
    session: u64,
    tasks: &mpsc::Receiver<MachineTask<M, QueryClient<M>>>,
    inbox: &Inbox<M>,
) {
    let mut writer = None;
    while let Some(task) = next_task(&mut applier, tasks) {
        let done = match task {
            MachineTask::Apply(entries) => applier
                .apply(session, entries)
                .map(|replies| Input::Applied(applier.last().index, replies)),
            MachineTask::Query(query, client) => {
                let answer = move |index, answer| {
                    // A client that is gone wants no answer.
                    let _ = client.send(Ok((index, answer)));
                };
                applier.query_async(query, Box::new(answer));
                continue;
            }
            MachineTask::TakeSnapshot => {
                // The one before is through: the core asks for one at a time.
                join(writer.take());
                match write_beside(&mut applier, inbox) {
                    Ok(thread) => {
                        writer = Some(thread);
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no snapshot taken");
                        Ok(Input::SnapshotTaken(None))
                    }
                }
            }
            MachineTask::Restore(meta) => applier.restore(&meta).map(|()| Input::Restored(meta)),
        };
        match done {
            Ok(input) => inbox.tell(Event::Input(input, None)),
            Err(error) => {
                inbox.tell(Event::FatalError(FatalError::Machine(Arc::new(error))));
                break;
            }
        }
    }
    // Nothing is written any more once a node has stopped.
    join(writer);
}

/// The next task, for which the machine rests first if there is none yet; `None` at the end.
fn next_task<M: ReplicatedStateMachine>(
    applier: &mut Applier<M>,
    tasks: &mpsc::Receiver<MachineTask<M, QueryClient<M>>>,
) -> Option<MachineTask<M, QueryClient<M>>> {
    match tasks.try_recv() {
        Ok(task) => Some(task),
        Err(mpsc::TryRecvError::Disconnected) => None,
        Err(mpsc::TryRecvError::Empty) => {
            applier.on_idle();
            tasks.recv().ok()
        }
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    // Its panic was told already.
    let _ = thread.map(JoinHandle::join);
}

/// Has a snapshot of the state as it is written on a thread of its own, which tells when that is done.
fn write_beside<M: ReplicatedStateMachine>(
    applier: &mut Applier<M>,
    inbox: &Inbox<M>,
) -> Result<JoinHandle<()>, Box<dyn std::error::Error>> {
    let snapshot = applier.begin_snapshot()?;
    let write = move |inbox: &Inbox<M>| {
        let taken = snapshot
            .run()
            .inspect_err(|error| tracing::warn!(%error, "no snapshot taken"));
        inbox.tell(Event::Input(Input::SnapshotTaken(taken.ok()), None));
    };
    Ok(thread("raft-snapshot", inbox, write)?)
}
