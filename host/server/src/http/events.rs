//! `GET /v1/events`: what the guest publishes, as server-sent events (HTML standard, section 9.2).

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

use super::App;
use super::error::ApiError;
use super::serve::Streaming;
use crate::events::{EventId, Events, Next, Placed};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A line without meaning goes out this often where there is nothing else, so that a client that is gone is noticed.
const STILL_HERE: Duration = Duration::from_secs(15);
/// Frames under way to one client; past that the client is waited for.
const FRAMES: usize = 16;
/// The name of the event that says that others are gone. Guests' topics may be anything else.
const GAP: &str = "oarlock.gap";

/// Which events, and from where on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// As the header `Last-Event-ID`, for clients that can't set one.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    topic: Option<String>,
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(wanted) = wanted.map_err(|error| {
        ApiError::malformed(
            format!(
                "the address of the request makes no sense: {}",
                error.body_text()
            ),
            "give any of after=INDEX.N and topic=NAME after a question mark, or nothing",
        )
    })?;
    let place = place(request.headers(), wanted.after.as_deref())?;
    let place = place.unwrap_or_else(|| app.events.latest());
    let (sender, body) = Channel::<Bytes, Infallible>::new(FRAMES);
    let listener = Listener {
        events: Arc::clone(&app.events),
        topic: wanted.topic,
        place,
        sender,
    };
    // It ends with the client or with the node.
    tokio::spawn(listener.run());
    let mut response = Response::new(Body::new(body));
    response.extensions_mut().insert(Streaming);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// From where on: what the client has seen last, if it says so.
fn place(headers: &HeaderMap, after: Option<&str>) -> Result<Option<EventId>, ApiError> {
    let header = headers.get(LAST_EVENT_ID);
    let header = header.map(|value| value.to_str().unwrap_or_default());
    // A browser that has seen no id yet sends an empty one.
    let Some(text) = header.filter(|text| !text.is_empty()).or(after) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|()| {
        ApiError::malformed(
            "the last event is not named as events are",
            "give the id of an event, as in 120.0: the index of its entry and its number there",
        )
    })
}

struct Listener {
    events: Arc<Events>,
    topic: Option<String>,
    place: EventId,
    sender: Sender<Bytes>,
}

impl Listener {
    async fn run(mut self) {
        let mut changes = self.events.watch();
        let begun = self.send(": events of the guest\n\n".to_owned()).await;
        if begun.is_err() {
            return;
        }
        loop {
            changes.mark_unchanged();
            if !*changes.borrow() || self.tell_all().await.is_err() {
                return;
            }
            let silence = tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                () = tokio::time::sleep(STILL_HERE) => true,
            };
            if silence && self.send(": still here\n\n".to_owned()).await.is_err() {
                return;
            }
        }
    }

    /// Tells everything that is there after its place.
    async fn tell_all(&mut self) -> Result<(), Gone> {
        loop {
            let text = match self.events.after(self.place) {
                Next::Nothing => return Ok(()),
                Next::Gap(lost) => {
                    let text = gap(self.place, lost);
                    self.place = lost;
                    text
                }
                Next::Event(placed) => {
                    self.place = placed.id;
                    let wanted = self.topic.as_ref();
                    if wanted.is_some_and(|topic| *topic != placed.event.topic) {
                        continue;
                    }
                    frame(&placed)
                }
            };
            self.send(text).await?;
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Gone> {
        self.sender.send_data(text.into()).await.map_err(|_| Gone)
    }
}

/// The client has gone away.
struct Gone;

fn gap(place: EventId, lost: EventId) -> String {
    format!(
        "event: {GAP}\ndata: {{\"after\":\"{place}\",\"message\":\"events may be missing here: they are no longer kept by this node\"}}\nid: {lost}\n\n"
    )
}

/// An event in the form of the standard. What is no text of lines travels as JSON with its bytes in hexadecimal.
fn frame(placed: &Placed) -> String {
    let topic: String = placed
        .event
        .topic
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let mut frame = format!("event: {topic}\n");
    match std::str::from_utf8(&placed.event.payload) {
        // The standard takes a carriage return for the end of a line, too.
        Ok(text) if !text.contains('\r') => {
            for line in text.split('\n') {
                let _ = writeln!(frame, "data: {line}");
            }
        }
        _ => {
            frame.push_str("data: {\"hex\":\"");
            for byte in &placed.event.payload {
                let _ = write!(frame, "{byte:02x}");
            }
            frame.push_str("\"}\n");
        }
    }
    let _ = write!(frame, "id: {}\n\n", placed.id);
    frame
}

#[cfg(test)]
mod tests;
