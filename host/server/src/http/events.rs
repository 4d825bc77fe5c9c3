//! `GET /v1/events`: the guest's events, as server-sent events (HTML standard, section 9.2).

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde::Deserialize;

use super::app::App;
use super::error::ApiError;
use crate::events::{EventId, Events, NextEvent, StoredEvent};

pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Interval of comment lines on an idle stream. Without them a closed connection would stay undetected.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Most buffered frames for one client. At the limit, the task waits for the client to read.
const FRAMES: usize = 16;
/// Topic of the event that reports a gap.
const GAP: &str = "oarlock.gap";

/// The query string.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsParams {
    /// As the header `Last-Event-ID`, for clients that can't set headers.
    #[serde(default)]
    after: Option<String>,
    /// Only events of this topic.
    #[serde(default)]
    topic: Option<String>,
}

/// Marks a response with an endless body, so that the server does not count its connection as idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streaming;

/// Streams events until the client disconnects or the node stops.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    params: Result<Query<EventsParams>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(params) = params.map_err(|error| {
        ApiError::malformed(
            format!(
                "the query string of the URL is invalid: {}",
                error.body_text()
            ),
            "use the parameters after=INDEX.N and topic=NAME, both optional",
        )
    })?;
    let place = place(request.headers(), params.after.as_deref())?;
    let place = place.unwrap_or_else(|| app.events.latest());
    let (sender, body) = Channel::<Bytes, Infallible>::new(FRAMES);
    let stream = EventStream {
        events: Arc::clone(&app.events),
        topic: params.topic,
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

/// The last event that the client has received, if the request names one. The stream starts after it.
fn place(headers: &HeaderMap, after: Option<&str>) -> Result<Option<EventId>, ApiError> {
    let header = headers.get(LAST_EVENT_ID);
    let header = header.map(|value| value.to_str().unwrap_or_default());
    // A browser that has not received an id yet sends an empty header.
    let Some(text) = header.filter(|text| !text.is_empty()).or(after) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|()| {
        ApiError::malformed(
            "the id of the last event is not of the form INDEX.N",
            "send the id of an event, for example 120.0: the index of its entry, and its number in this entry",
        )
    })
}

struct EventStream {
    events: Arc<Events>,
    topic: Option<String>,
    place: EventId,
    sender: Sender<Bytes>,
}

impl EventStream {
    async fn run(mut self) {
        let mut changes = self.events.watch();
        // The id is the position at which the stream begins. A client that reconnects before the first event continues
        // there, and misses none.
        let first = format!(": events of the guest\nid: {}\n\n", self.place);
        let begun = self.send(first).await;
        if begun.is_err() {
            return;
        }
        loop {
            changes.mark_unchanged();
            if !*changes.borrow() || self.send_all().await.is_err() {
                return;
            }
            let idle = tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                () = tokio::time::sleep(KEEP_ALIVE) => true,
            };
            if idle && self.send(": keep-alive\n\n".to_owned()).await.is_err() {
                return;
            }
        }
    }

    /// Sends all stored events after `place`.
    async fn send_all(&mut self) -> Result<(), Disconnected> {
        loop {
            let text = match self.events.after(self.place) {
                NextEvent::None => return Ok(()),
                NextEvent::Gap(lost) => {
                    let text = gap(self.place, lost);
                    self.place = lost;
                    text
                }
                NextEvent::Event(stored) => {
                    self.place = stored.id;
                    let only = self.topic.as_ref();
                    if only.is_some_and(|topic| *topic != stored.event.topic) {
                        continue;
                    }
                    frame(&stored)
                }
            };
            self.send(text).await?;
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Disconnected> {
        self.sender
            .send_data(text.into())
            .await
            .map_err(|_| Disconnected)
    }
}

/// The client has disconnected.
pub(super) struct Disconnected;

fn gap(place: EventId, lost: EventId) -> String {
    format!(
        "event: {GAP}\ndata: {{\"after\":\"{place}\",\"message\":\"events may be missing here: this node no longer stores them\"}}\nid: {lost}\n\n"
    )
}

/// An event in the format of the standard. A payload that is not UTF-8, or that holds a carriage return, becomes
/// `{"hex":"…"}`.
fn frame(stored: &StoredEvent) -> String {
    let topic: String = stored
        .event
        .topic
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let mut frame = format!("event: {topic}\n");
    match std::str::from_utf8(&stored.event.payload) {
        // In the standard, a carriage return ends a line too.
        Ok(text) if !text.contains('\r') => {
            for line in text.split('\n') {
                let _ = writeln!(frame, "data: {line}");
            }
        }
        _ => {
            frame.push_str("data: {\"hex\":\"");
            for byte in &stored.event.payload {
                let _ = write!(frame, "{byte:02x}");
            }
            frame.push_str("\"}\n");
        }
    }
    let _ = write!(frame, "id: {}\n\n", stored.id);
    frame
}

#[cfg(test)]
mod tests;
