//! `GET /v1/events`: the guest's events, as server-sent events (HTML standard, section 9.2).

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;

use super::app::App;
use super::error::ApiError;
use super::event_stream::{FrameSource, StreamClient, last_id, respond};
use crate::events::{EventId, Events, NextEvent, StoredEvent};

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
    let place = last_id::<EventId>(request.headers(), params.after.as_deref());
    let place = place.map_err(|()| {
        ApiError::malformed(
            "the id of the last event is not of the form INDEX.N",
            "send the id of an event, for example 120.0: the index of its entry, and its number in this entry",
        )
    })?;
    let source = EventFrames {
        events: Arc::clone(&app.events),
        topic: params.topic,
        place: place.unwrap_or_else(|| app.events.latest()),
    };
    let client = StreamClient::of(&app, request.extensions())?;
    let (changes, open) = (app.events.watch(), app.streams.subscribe());
    Ok(respond(
        source,
        client,
        "events of the guest",
        changes,
        open,
    ))
}

/// The stored events after `place`.
struct EventFrames {
    events: Arc<Events>,
    topic: Option<String>,
    place: EventId,
}

impl FrameSource for EventFrames {
    fn position(&self) -> String {
        self.place.to_string()
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        loop {
            match self.events.after(self.place) {
                NextEvent::None => return None,
                NextEvent::Gap(lost) => {
                    let text = gap(self.place, lost);
                    self.place = lost;
                    return Some(text.into());
                }
                NextEvent::Event(stored) => {
                    self.place = stored.id;
                    let only = self.topic.as_ref();
                    if only.is_none_or(|topic| *topic == stored.event.topic) {
                        return Some(self.events.framed(&stored, frame));
                    }
                }
            }
        }
    }
}

fn gap(place: EventId, lost: EventId) -> String {
    format!(
        "event: {GAP}\ndata: {{\"after\":\"{place}\",\"message\":\"events may be missing here: this node no longer stores them\"}}\nid: {lost}\n\n"
    )
}

/// How a payload begins whose bytes are in hexadecimal.
const HEX: &str = "{\"hex\":\"";

/// An event in the format of the standard. A payload that is not UTF-8, or that holds a carriage return, becomes
/// `{"hex":"…"}`. So does a text that begins like that: whatever begins so is hexadecimal.
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
        Ok(text) if !text.contains('\r') && !text.starts_with(HEX) => {
            for line in text.split('\n') {
                let _ = writeln!(frame, "data: {line}");
            }
        }
        _ => {
            let _ = write!(frame, "data: {HEX}");
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
