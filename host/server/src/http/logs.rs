//! `GET /v1/logs`: the latest lines of this node's log, as server-sent events (HTML standard, section 9.2).

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::error::ApiError;
use super::event_stream::{FrameSource, StreamClient, last_id, respond};
use crate::node_log::{KEPT_LINES, LineId, LineSource, NextLine, NodeLog, NodeLogLine, Severity};

/// How many past lines a stream without a position begins with.
pub(super) const DEFAULT_TAIL: u64 = 100;
/// Most of them.
pub(super) const MAX_TAIL: u64 = KEPT_LINES as u64;
/// The value of `source` for the lines of all sources.
const ANY_SOURCE: &str = "all";
/// Names of `source`; the first is the default.
pub(super) const SOURCES: [&str; 3] = {
    let [guest, node] = LineSource::NAMES;
    [ANY_SOURCE, guest, node]
};

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
    let place = last_id::<LineId>(request.headers(), params.after.as_deref());
    let place = place.map_err(|()| malformed("the id of the last line is not the id of a line"))?;
    // At most `KEPT_LINES`.
    let tail = usize::try_from(tail).unwrap_or(KEPT_LINES);
    let source = LineFrames {
        place: place.unwrap_or_else(|| app.log.before_last(tail, |line| wanted.contains(line))),
        until: (!params.follow).then(|| app.log.before_last(0, |_| true)),
        log: Arc::clone(&app.log),
        wanted,
    };
    let client = StreamClient::of(&app, request.extensions())?;
    let (changes, open) = (app.log.watch(), app.streams.subscribe());
    Ok(respond(source, client, "log of the node", changes, open))
}

fn malformed(what: impl Into<String>) -> ApiError {
    ApiError::malformed(
        what.into(),
        "use the parameters level, source, tail, after and follow, all optional; GET /v1/openapi.json lists their values",
    )
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
            None | Some(ANY_SOURCE) => None,
            Some(name) => {
                let source = name.parse::<LineSource>();
                Some(source.map_err(|()| malformed(format!("there is no source {name:?}")))?)
            }
        };
        Ok(Self { least, source })
    }

    fn contains(self, line: &NodeLogLine) -> bool {
        line.level >= self.least && self.source.is_none_or(|source| source == line.source)
    }
}

/// The stored lines after `place`.
struct LineFrames {
    log: Arc<NodeLog>,
    wanted: WantedLines,
    place: LineId,
    /// The last line of a stream that does not follow.
    until: Option<LineId>,
}

impl LineFrames {
    fn has_read_all(&self) -> bool {
        self.until
            .is_some_and(|until| self.place.log == until.log && self.place.number >= until.number)
    }
}

impl FrameSource for LineFrames {
    fn position(&self) -> String {
        self.place.to_string()
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        while !self.has_read_all() {
            match self.log.after(self.place) {
                NextLine::None => return None,
                NextLine::Gap(place, missed) => {
                    self.place = place;
                    return Some(frame("gap", &LineGap::of(missed), place).into());
                }
                NextLine::Line(place, line) => {
                    self.place = place;
                    if self.wanted.contains(&line) {
                        return Some(frame("line", &line, place).into());
                    }
                }
            }
        }
        None
    }

    fn is_finished(&self) -> bool {
        self.until.is_some()
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

#[cfg(test)]
mod tests;
