//! One turn of a load, and the processor time that it took.

use std::time::Duration;

use oarlock_client::load::generator::{Load, Session};
use oarlock_client::load::tally::LoadTally;

use super::usage::Usage;

/// Runs before the measured time, and is not counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// What one turn gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// Its requests.
    pub(crate) tally: LoadTally,
    /// Processor time of the clients.
    pub(crate) client_cpu: Duration,
    /// Processor time of the nodes, together.
    pub(crate) node_cpu: Duration,
    /// Durable writes of the leader's log.
    pub(crate) syncs: u64,
}

impl Turn {
    /// Processor time for each request that was carried out, in microseconds.
    pub(crate) fn each_us(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.tally.done().max(1) as f64
    }

    /// Several turns as one.
    pub(crate) fn merged(turns: &[Self]) -> Self {
        Self {
            tally: LoadTally::merged(turns.iter().map(|turn| &turn.tally)),
            client_cpu: turns.iter().map(|turn| turn.client_cpu).sum(),
            node_cpu: turns.iter().map(|turn| turn.node_cpu).sum(),
            syncs: turns.iter().map(|turn| turn.syncs).sum(),
        }
    }
}

/// Lets the sessions run for a while; `pids` are the nodes.
pub(crate) async fn run<S: Session>(sessions: Vec<S>, time: Duration, pids: &[u32]) -> Turn {
    // Its time begins when it is polled first, which is after the warm-up.
    let work = async { tokio::time::sleep(time).await };
    run_during(sessions, work, pids).await.0
}

/// Lets the sessions run until `work` is complete, and returns its result too.
pub(crate) async fn run_during<S: Session, T>(
    sessions: Vec<S>,
    work: impl Future<Output = T>,
    pids: &[u32],
) -> (Turn, T) {
    let measured = async {
        let (own, nodes) = (Usage::own(), Usage::of(pids));
        let result = work.await;
        let client_cpu = Usage::own().since(own).cpu;
        (client_cpu, Usage::of(pids).since(nodes).cpu, result)
    };
    let (tally, (client_cpu, node_cpu, result)) =
        Load::default().run(sessions, WARM_UP, measured).await;
    let turn = Turn {
        tally,
        client_cpu,
        node_cpu,
        syncs: 0,
    };
    (turn, result)
}
