//! The logs of nodes. Each node has its own, so a request names one, and a client that follows a log has one endpoint.

use std::fmt::Write;

use serde::Deserialize;

use super::events::{EventStream, stream};
use super::{Client, get, response};
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::event_lines::{EventLines, ReceivedEvent};
use crate::transport::percent_encoded;

/// Which lines of a log to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Only lines of this level and more severe ones: `error`, `warn`, `info`, `debug` or `trace`. Default: all.
    pub level: Option<String>,
    /// Only lines of `guest` or of `node`. Default: `all`.
    pub source: Option<String>,
    /// How many past lines to begin with, at most 10,000. Default: 100.
    pub tail: Option<u64>,
}

/// A line of a node's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct LogLineInfo {
    /// Wall-clock time of the node, in milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Who wrote it: `guest` or `node`. Only the node sets it.
    pub source: String,
    /// The module of the program that wrote it.
    pub target: String,
    /// The message and its fields.
    pub text: String,
}

/// An item of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogItem {
    /// A line.
    Line(LogLineInfo),
    /// Lines are missing here: how many. `None`: the node was restarted.
    Gap(Option<u64>),
}

/// The stored lines of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Lines and gaps, oldest first.
    pub items: Vec<LogItem>,
    /// The id of the last line, from which [`Client::follow_log`] continues. Its part before the point names the log:
    /// nodes in one process share it.
    pub last_id: String,
}

impl Client {
    /// The latest lines of the log of the node at `endpoint`, in one attempt.
    ///
    /// # Errors
    /// The node does not respond, or its version has no such request.
    pub async fn log_of(
        &self,
        endpoint: &Endpoint,
        options: &LogOptions,
    ) -> Result<LogPage, RequestError> {
        let target = target(options, false);
        let mut call = get("/v1/logs", self.shared.options.max_reply_bytes);
        call.target = target.into();
        let reply = self
            .call_one(endpoint, &call)
            .await
            .map_err(|failed| self.error_of(failed))?;
        let body = response::expect_ok(endpoint, reply)?;
        let malformed = |message| RequestError::Malformed {
            endpoint: endpoint.clone(),
            message,
        };
        let mut lines = EventLines::default();
        let events = lines
            .push(&body, self.shared.options.max_reply_bytes)
            .map_err(malformed)?;
        let items = events.iter().map(item).collect::<Result<_, _>>();
        Ok(LogPage {
            items: items.map_err(malformed)?,
            last_id: lines.last_id().unwrap_or_default(),
        })
    }

    /// Follows the log of a node. Use a client with one endpoint: each node has its own log. `after`: the id of the last
    /// line that was received, if any.
    #[must_use]
    pub fn follow_log(&self, options: &LogOptions, after: Option<String>) -> LogStream {
        let target = target(options, true);
        LogStream {
            events: stream(&self.shared, target, after),
        }
    }
}

/// The lines of a log, without end. If the connection breaks, it continues after the last line.
#[derive(Debug)]
pub struct LogStream {
    events: EventStream,
}

impl LogStream {
    /// Waits for the next item.
    ///
    /// # Errors
    /// The node has not accepted the stream within the timeout of the client, or it refused the parameters. A later call
    /// tries again.
    pub async fn next(&mut self) -> Result<LogItem, RequestError> {
        let event = self.events.next().await?;
        item(&event).map_err(|message| RequestError::Malformed {
            endpoint: self.events.endpoint(),
            message,
        })
    }
}

fn target(options: &LogOptions, follow: bool) -> String {
    let mut target = format!("/v1/logs?follow={follow}");
    let texts = [("level", &options.level), ("source", &options.source)];
    for (name, value) in texts {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(target, "&{name}={}", percent_encoded(value));
        }
    }
    if let Some(tail) = options.tail {
        let _ = write!(target, "&tail={tail}");
    }
    target
}

fn item(event: &ReceivedEvent) -> Result<LogItem, String> {
    #[derive(Deserialize)]
    struct GapData {
        missed: Option<u64>,
    }
    let item = match event.topic.as_str() {
        "line" => serde_json::from_str(&event.data).map(LogItem::Line),
        "gap" => serde_json::from_str(&event.data).map(|gap: GapData| LogItem::Gap(gap.missed)),
        other => return Err(format!("the log has an event {other:?}")),
    };
    item.map_err(|error| format!("an event of the log is not valid: {error}"))
}
