//! Producers and workers that use the nodes while the leader is stopped and restarted: a line a second, and a check after each
//! round that no task was lost or worked on twice.

mod tally;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use oarlock_client::queue::{NewTask, Queue, QueueError, ReservedTask};
use oarlock_client::worker::{TaskFailure, Worker, WorkerEvent};
use oarlock_client::{Client, Endpoint};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::cluster::{DemoCluster, node_failure};
use super::screen::Screen;
use super::stop::Stop;
use crate::exit::Failure;
use tally::LiveTally;

/// Name of the queue. It is another one than that of the tour.
const QUEUE: &str = "live";
/// Producers, each with one task in flight.
const PRODUCERS: usize = 4;
/// Tasks that the worker has at once.
const CONCURRENCY: usize = 32;
/// Seconds of a round: its end, and when the leader is stopped and restarted.
const ROUND: u64 = 8;
const STOPPED_AT: u64 = 2;
const RESTARTED_AT: u64 = 5;
/// How long the workers may take after the producers have stopped. A failover takes seconds on a busy machine.
const DRAIN: Duration = Duration::from_secs(60);

/// Producers and workers that run.
pub(super) struct LiveWork {
    queue: Queue,
    tally: Arc<LiveTally>,
    /// Dropped with this value, which ends the worker.
    _worker: JoinSet<()>,
    begun: Instant,
    round: u64,
}

impl LiveWork {
    /// Starts the worker. `None`: the nodes run no task queue whose workers can wait.
    ///
    /// # Errors
    /// No node responds.
    pub(super) async fn start(cluster: &DemoCluster) -> Result<Option<Self>, Failure> {
        let all: Vec<Endpoint> = cluster.nodes().map(|(_, _, at)| at.clone()).collect();
        let client = Client::new(all).map_err(Failure::failed)?;
        let queue = Queue::new(client, QUEUE);
        match queue.check().await {
            Ok(()) => {}
            Err(QueueError::NotAQueue(_)) => return Ok(None),
            Err(error) => return Err(Failure::failed(error)),
        }
        let tally = Arc::new(LiveTally::default());
        let (done, begun) = (Arc::clone(&tally), Arc::clone(&tally));
        let worker = Worker::new(queue.clone())
            .name("demo")
            .concurrency(CONCURRENCY)
            .on_event(move |event| {
                if let WorkerEvent::Done { task, .. } = event {
                    done.task_is_done(task.id);
                }
            });
        let mut running = JoinSet::new();
        running.spawn(async move {
            // It runs until it is dropped, and repeats what fails.
            let _ = worker
                .run(move |task: ReservedTask| {
                    let begun = Arc::clone(&begun);
                    async move {
                        begun.task_begins(task.id, task.payload.parse()?);
                        Ok::<_, TaskFailure>(())
                    }
                })
                .await;
        });
        Ok(Some(Self {
            queue,
            tally,
            _worker: running,
            begun: Instant::now(),
            round: 0,
        }))
    }

    /// One round: tasks are produced and worked on, the leader is stopped and restarted, and everything is checked.
    ///
    /// # Errors
    /// A task was lost or worked on twice, or a node does not stop or restart.
    pub(super) async fn round(
        &mut self,
        cluster: &mut DemoCluster,
        screen: &mut Screen<impl Write>,
    ) -> Result<(), Stop> {
        self.round += 1;
        let mut producers = JoinSet::new();
        for _ in 0..PRODUCERS {
            let (queue, tally) = (self.queue.clone(), Arc::clone(&self.tally));
            producers.spawn(async move { produce(&queue, &tally).await });
        }
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seconds.tick().await;
        let mut stopped = None;
        for second in 1..=ROUND {
            tokio::select! {
                _ = seconds.tick() => {}
                (node_id, fault) = cluster.failed() => {
                    return Err(node_failure(&node_id, &fault).into());
                }
            }
            let note = self.disturb(cluster, second, &mut stopped).await?;
            screen.line(format_args!("{}{note}", self.line()))?;
        }
        producers.shutdown().await;
        let finished = self.tally.all_are_done();
        // What is not done then is lost.
        let _ = timeout(DRAIN, finished).await;
        self.check(screen)
    }

    /// Stops the leader, or restarts it. Returns what to print.
    async fn disturb(
        &self,
        cluster: &mut DemoCluster,
        second: u64,
        stopped: &mut Option<String>,
    ) -> Result<String, Failure> {
        if second == STOPPED_AT && cluster.nodes().len() >= 3 {
            let status = self.queue.client().status().await;
            let Some(leader) = status.ok().and_then(|status| status.leader_id) else {
                return Ok(String::new());
            };
            cluster.stop(&leader).await?;
            let note = format!("   {leader}, the leader, is stopped");
            *stopped = Some(leader);
            return Ok(note);
        }
        match stopped.take_if(|_| second == RESTARTED_AT) {
            Some(node) => {
                cluster.restart(&node).await?;
                Ok(format!("   {node} is restarted"))
            }
            None => Ok(String::new()),
        }
    }

    fn line(&self) -> String {
        let second = self.tally.take_second();
        let [median, late] = second.latencies_ms;
        format!(
            "{:>4} s   put {:>5}/s   done {:>5}/s   put to worker p50 {median:>6.1} ms, p99 {late:>7.1} ms   lost {}, doubled {}",
            self.begun.elapsed().as_secs(),
            second.put,
            second.done,
            second.lost,
            second.doubled,
        )
    }

    /// Checks the round: every acknowledged task was worked on, and none twice.
    fn check(&self, screen: &mut Screen<impl Write>) -> Result<(), Stop> {
        let round = self.tally.end_round();
        if round.lost > 0 || round.doubled > 0 {
            return Err(Failure::failed(format!(
                "of {} acknowledged tasks, {} were lost and {} worked on twice; this is a bug, please report it",
                round.put, round.lost, round.doubled
            ))
            .into());
        }
        screen.good(format_args!(
            "round {}: {} tasks put and worked on, lost 0, doubled 0",
            self.round, round.put
        ))?;
        Ok(())
    }
}

/// Puts one task after the other. A put without an outcome is repeated by the client, with its idempotency key.
async fn produce(queue: &Queue, tally: &LiveTally) {
    loop {
        let Ok(task) = NewTask::json(&tally.now_us()) else {
            return;
        };
        match queue.enqueue(&task).await {
            Ok(added) => tally.task_was_put(added.id),
            // Not acknowledged: it may be there or not.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
