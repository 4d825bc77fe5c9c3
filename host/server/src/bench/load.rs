//! Many sessions at once, until the time is over.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oarlock_client::load::generator::Load;
use oarlock_client::load::node::NodeSession;
use oarlock_client::load::tally::LoadTally;
use oarlock_client::{AccessToken, ClientOptions, Endpoint, TlsOptions};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::template::Template;

/// Runs before the measured time, and is not counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What to send, where and how often.
#[derive(Clone, Debug)]
pub(super) struct LoadPlan {
    /// Sessions go to these in turn: at least one.
    pub(super) endpoints: Vec<Endpoint>,
    /// How many sessions, each with a connection of its own.
    pub(super) clients: u32,
    /// The measured time.
    pub(super) duration: Duration,
    /// Of one request.
    pub(super) timeout: Duration,
    /// TLS to the nodes.
    pub(super) tls: Option<TlsOptions>,
    /// Token to send.
    pub(super) token: Option<AccessToken>,
    /// Queries rather than commands.
    pub(super) query: bool,
    /// Of a payload, in bytes.
    pub(super) size: usize,
    /// What is sent.
    pub(super) template: Template,
}

impl LoadPlan {
    fn session(&self, client: u32) -> NodeSession {
        let options = ClientOptions {
            connect_timeout: CONNECT,
            timeout: self.timeout,
            tls: self.tls.clone(),
            token: self.token.clone(),
            ..ClientOptions::default()
        };
        let template = self.template.clone();
        let body = move |number| template.render(number, client);
        let (endpoints, first) = (self.endpoints.clone(), client as usize);
        NodeSession::new(endpoints, first, &options, self.query, body)
    }
}

/// Warms up and measures. The progress is shown on a terminal unless `quiet`.
pub(super) async fn run(plan: &LoadPlan, quiet: bool) -> LoadTally {
    let sessions = (0..plan.clients)
        .map(|client| plan.session(client))
        .collect();
    let load = Load::default();
    let progress = tokio::spawn(show_progress(load.clone(), plan.duration, quiet));
    // Its time begins when it is polled first, which is after the warm-up.
    let measured = async { tokio::time::sleep(plan.duration).await };
    let (tally, ()) = load.run(sessions, WARM_UP, measured).await;
    progress.abort();
    // It was aborted.
    let _ = progress.await;
    tally
}

async fn show_progress(load: Load, duration: Duration, quiet: bool) {
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new((WARM_UP + duration).as_millis() as u64)
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
        bar.set_style(style);
    }
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(200));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let running = ticks.tick().await.saturating_duration_since(start);
        bar.set_position(running.as_millis() as u64);
        let (done, failed) = load.so_far();
        let measured = running.saturating_sub(WARM_UP).as_secs_f64();
        if measured > 0.0 {
            let rate = done as f64 / measured;
            bar.set_message(format!("{rate:.0}/s, {done} done, {failed} not"));
        } else {
            bar.set_message("warming up");
        }
    }
}
