//! Many connections at once, until the time is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oarlock_client::Endpoint;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::WARM_UP;
use super::connection::Connection;
use super::tally::{Kind, Tally};
use super::template::Template;
use crate::command::print_safely;
use crate::exit::Failure;

/// A connection that met an error waits this long before its next request: a node in need gets no storm.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Beyond the time that a node is given, so that its own answer arrives.
const GRACE: Duration = Duration::from_secs(1);

/// Most of a node's words that are repeated, in bytes.
const EXAMPLE_BYTES: usize = 300;

/// What to send, where, how often.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Connections go to these in turn.
    pub(super) endpoints: Vec<Endpoint>,
    /// How many connections.
    pub(super) clients: u32,
    /// The measured time.
    pub(super) duration: Duration,
    /// Of one request.
    pub(super) timeout: Duration,
    /// Queries rather than commands.
    pub(super) query: bool,
    /// Of a payload, in bytes.
    pub(super) size: usize,
    /// What is sent.
    pub(super) template: Template,
}

/// What all connections share.
struct Shared {
    plan: Plan,
    tally: Mutex<Tally>,
    next_number: AtomicU64,
    /// The measured time.
    from: Instant,
    until: Instant,
}

impl Shared {
    /// A poisoned lock holds counts, which are as good as before.
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects, warms up, measures.
///
/// # Errors
/// Not one connection could be made.
pub(super) async fn run(plan: &Plan, quiet: bool) -> Result<Tally, Failure> {
    let connections = open_all(plan).await?;
    let from = Instant::now() + WARM_UP;
    let until = from + plan.duration;
    let tally = Mutex::new(Tally::new()?);
    let shared = Arc::new(Shared {
        plan: plan.clone(),
        tally,
        next_number: AtomicU64::new(0),
        from,
        until,
    });
    let mut tasks = JoinSet::new();
    for (client, connection) in connections {
        tasks.spawn(drive(Arc::clone(&shared), client, connection));
    }
    let progress = tokio::spawn(show_progress(Arc::clone(&shared), quiet));
    sleep_until(until).await;
    // The requests under way no longer count.
    tasks.shutdown().await;
    progress.abort();
    // Its end is what matters; that it was aborted is known.
    let _ = progress.await;
    let tally = shared.tally().clone();
    Ok(tally)
}

/// One connection for each client. Those that can't be made now are tried again while it runs.
async fn open_all(plan: &Plan) -> Result<Vec<(u32, Option<Connection>)>, Failure> {
    let mut opening = JoinSet::new();
    for client in 0..plan.clients {
        let endpoint = endpoint_of(plan, client, 0).clone();
        let target = target(plan);
        opening.spawn(async move { (client, Connection::open(&endpoint, target, CONNECT).await) });
    }
    let mut connections = Vec::new();
    let mut error = None;
    for (client, opened) in opening.join_all().await {
        match opened {
            Ok(connection) => connections.push((client, Some(connection))),
            Err(why) => {
                error = Some(why);
                connections.push((client, None));
            }
        }
    }
    match error {
        Some(why)
            if connections
                .iter()
                .all(|(_, connection)| connection.is_none()) =>
        {
            Err(Failure::unreachable(format!(
                "no connection could be made ({why}); are the nodes running?"
            )))
        }
        _ => Ok(connections),
    }
}

/// Clients begin at one endpoint after the other, and go on to the next where a connection fails.
fn endpoint_of(plan: &Plan, client: u32, failures: usize) -> &Endpoint {
    &plan.endpoints[(client as usize).wrapping_add(failures) % plan.endpoints.len()]
}

fn target(plan: &Plan) -> &'static str {
    if plan.query { "/v1/query" } else { "/v1/apply" }
}

/// One client: sends, waits, sends again, until it is stopped.
async fn drive(shared: Arc<Shared>, client: u32, mut connection: Option<Connection>) {
    let plan = &shared.plan;
    let mut failures = usize::from(connection.is_none());
    loop {
        let started = Instant::now();
        let kind = match &mut connection {
            Some(open) => request(&shared, client, open).await,
            None => {
                let endpoint = endpoint_of(plan, client, failures);
                match Connection::open(endpoint, target(plan), CONNECT).await {
                    Ok(opened) => {
                        connection = Some(opened);
                        continue;
                    }
                    Err(why) => Err((Kind::Connection, why)),
                }
            }
        };
        let ended = Instant::now();
        let counts = ended >= shared.from && ended < shared.until;
        let result = kind.as_ref().map_or_else(|(kind, _)| *kind, |kind| *kind);
        if counts {
            let mut tally = shared.tally();
            tally.count(result, ended - started);
            if let Err((_, words)) = &kind {
                tally.example(|| words.clone());
            }
        }
        if matches!(result, Kind::Connection | Kind::TimedOut) {
            connection = None;
            failures = failures.wrapping_add(1);
        }
        if !matches!(result, Kind::Done | Kind::Refused) {
            sleep_until(ended + AFTER_ERROR).await;
        }
    }
}

async fn request(
    shared: &Shared,
    client: u32,
    connection: &mut Connection,
) -> Result<Kind, (Kind, String)> {
    let body = shared
        .plan
        .template
        .render(shared.next_number.fetch_add(1, Ordering::Relaxed), client);
    match timeout(shared.plan.timeout + GRACE, connection.exchange(body)).await {
        Err(_elapsed) => Err((Kind::TimedOut, "no answer in time".to_owned())),
        Ok(Err(why)) => Err((Kind::Connection, why)),
        Ok(Ok(answer)) => match Kind::of(answer.status) {
            Kind::Done => Ok(Kind::Done),
            kind => {
                let words = &answer.body[..answer.body.len().min(EXAMPLE_BYTES)];
                let words = String::from_utf8_lossy(words);
                Err((
                    kind,
                    format!("HTTP {}: {}", answer.status.as_u16(), print_safely(&words)),
                ))
            }
        },
    }
}

/// A line that moves, on a terminal only.
async fn show_progress(shared: Arc<Shared>, quiet: bool) {
    let total = WARM_UP + shared.plan.duration;
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(total.as_millis() as u64)
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
        bar.set_style(style);
    }
    let start = shared.from - WARM_UP;
    let mut ticks = interval(Duration::from_millis(200));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let now = ticks.tick().await;
        bar.set_position(now.saturating_duration_since(start).as_millis() as u64);
        let (done, failed) = {
            let tally = shared.tally();
            (tally.done(), tally.failed())
        };
        let measured = now.saturating_duration_since(shared.from).as_secs_f64();
        if measured > 0.0 {
            bar.set_message(format!(
                "{:.0}/s, {done} done, {failed} not",
                done as f64 / measured
            ));
        } else {
            bar.set_message("warming up");
        }
    }
}
