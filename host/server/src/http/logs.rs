//! `GET /v1/logs`: the latest lines of this node's log, as server-sent events (HTML standard, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::app::App;
use super::error::ApiError;
use super::events::{Disconnected, LAST_EVENT_ID, Streaming};
use crate::node_log::{KEPT_LINES, LineId, LineSource, NextLine, NodeLog, NodeLogLine, Severity};

/// How many past lines a stream without a position begins with.
pub(super) const DEFAULT_TAIL: u64 = 100;
/// Most of them.
pub(super) const MAX_TAIL: u64 = KEPT_LINES as u64;
/// Names of `source`; the first is the default.
pub(super) const SOURCES: [&str; 3] = ["all", "guest", "node"];
/// Interval of comment lines on an idle stream. Without them a closed connection would stay undetected.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Most buffered frames for one client. At the limit, the task waits for the client to read.
const FRAMES: usize = 16;

/// The query string.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogsParams {
    level: Option<String>,
    source: Option<String>,
    tail: Option<u64>,
    /// As the header `Last-Event-ID`.
    after: Option<String>,
    follow: bool,
}

/// Streams stored lines, and with `follow` new ones until the client disconnects or the node stops.
pub(super) async fn logs(
    State(app): State<Arc<App>>,
    params: Result<Query<LogsParams>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(params) = params.map_err(|error| {
        malformed(format!(
            "the query string of the URL is invalid: {}",
            error.body_text()
        ))
    })?;
    let wanted = WantedLines::of(&params)?;
    let tail = params.tail.unwrap_or(DEFAULT_TAIL);
    if tail > MAX_TAIL {
        return Err(malformed(format!("tail is {tail}, more than {MAX_TAIL}")));
    }
    let place = match place(request.headers(), params.after.as_deref())? {
        Some(place) => place,
        // At most `KEPT_LINES`.
        None => app
            .log
            .before_last(usize::try_from(tail).unwrap_or(KEPT_LINES), |line| {
                wanted.contains(line)
            }),
    };
    let (sender, body) = Channel::<Bytes, Infallible>::new(FRAMES);
    let stream = LineStream {
        until: (!params.follow).then(|| app.log.before_last(0, |_| true)),
        log: Arc::clone(&app.log),
        open: app.streams.subscribe(),
        wanted,
        place,
        sender,
    };
    tokio::spawn(stream.run());
    let mut response = Response::new(Body::new(body));
    response.extensions_mut().insert(Streaming);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn malformed(what: impl Into<String>) -> ApiError {
    ApiError::malformed(
        what.into(),
        "use the parameters level, source, tail, after and follow, all optional; GET /v1/openapi.json lists their values",
    )
}

/// The last line that the client has received, if the request names one. The stream starts after it.
fn place(headers: &HeaderMap, after: Option<&str>) -> Result<Option<LineId>, ApiError> {
    let header = headers.get(LAST_EVENT_ID);
    let header = header.map(|value| value.to_str().unwrap_or_default());
    // A browser that has not received an id yet sends an empty header.
    let Some(text) = header.filter(|text| !text.is_empty()).or(after) else {
        return Ok(None);
    };
    let place = text.parse().map(Some);
    place.map_err(|()| malformed("the id of the last line is not the id of a line"))
}

/// The lines that a client wants.
#[derive(Clone, Copy, Debug)]
struct WantedLines {
    least: Severity,
    source: Option<LineSource>,
}

impl WantedLines {
    fn of(params: &LogsParams) -> Result<Self, ApiError> {
        let level = params.level.as_deref().unwrap_or(Severity::NAMES[0]);
        let least = level
            .parse()
            .map_err(|()| malformed(format!("there is no level {level:?}")))?;
        let source = match params.source.as_deref() {
            None | Some("all") => None,
            Some("guest") => Some(LineSource::Guest),
            Some("node") => Some(LineSource::Node),
            Some(other) => return Err(malformed(format!("there is no source {other:?}"))),
        };
        Ok(Self { least, source })
    }

    fn contains(self, line: &NodeLogLine) -> bool {
        line.level >= self.least && self.source.is_none_or(|source| source == line.source)
    }
}

struct LineStream {
    log: Arc<NodeLog>,
    /// `false` when the node stops.
    open: watch::Receiver<bool>,
    wanted: WantedLines,
    /// The last line of a stream that does not follow.
    until: Option<LineId>,
    place: LineId,
    sender: Sender<Bytes>,
}

impl LineStream {
    async fn run(mut self) {
        let mut changes = self.log.watch();
        // A client that reconnects before the first line continues here, and misses none.
        let first = format!(": log of the node\nid: {}\n\n", self.place);
        if self.send(first).await.is_err() {
            return;
        }
        loop {
            changes.mark_unchanged();
            if self.send_all().await.is_err() || self.until.is_some() {
                return;
            }
            let idle = tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                _ = self.open.wait_for(|open| !*open) => return,
                () = tokio::time::sleep(KEEP_ALIVE) => true,
            };
            if idle && self.send(": keep-alive\n\n".to_owned()).await.is_err() {
                return;
            }
        }
    }

    /// Sends all stored lines after `place`.
    async fn send_all(&mut self) -> Result<(), Disconnected> {
        loop {
            let is_last =
                |until: LineId| self.place.log == until.log && self.place.number >= until.number;
            if self.until.is_some_and(is_last) {
                return Ok(());
            }
            let text = match self.log.after(self.place) {
                NextLine::None => return Ok(()),
                NextLine::Gap(place, missed) => {
                    self.place = place;
                    frame("gap", &LineGap::of(missed), place)
                }
                NextLine::Line(place, line) => {
                    self.place = place;
                    if !self.wanted.contains(&line) {
                        continue;
                    }
                    frame("line", &line, place)
                }
            };
            self.send(text).await?;
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Disconnected> {
        let sent = self.sender.send_data(text.into()).await;
        sent.map_err(|_| Disconnected)
    }
}

/// Lines that the client misses.
#[derive(Debug, Serialize)]
struct LineGap {
    /// How many. `None`: the node was restarted, and the lines of the earlier process are gone.
    missed: Option<u64>,
    message: &'static str,
}

impl LineGap {
    fn of(missed: Option<u64>) -> Self {
        let message = match missed {
            Some(_) => "lines are missing here: this node no longer stores them",
            None => "lines may be missing here: this node was restarted",
        };
        Self { missed, message }
    }
}

/// An event in the format of the standard. JSON has no line breaks, so a line of the log cannot end the event.
fn frame(event: &str, data: &impl Serialize, id: LineId) -> String {
    let data = serde_json::to_string(data)
        .unwrap_or_else(|error| unreachable!("numbers and texts always encode: {error}"));
    format!("event: {event}\ndata: {data}\nid: {id}\n\n")
}
