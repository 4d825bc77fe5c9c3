//! Log lines as JSON on standard error: one object on each line, for programs that collect logs.
//!
//! ```json
//! {"time":"2026-11-24T18:28:21.042Z","level":"info","target":"oarlock::node","message":"elected","fields":{"term":3}}
//! ```

use std::fmt;
use std::io::Write;

use oarlock_wasm::is_unprintable;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use super::layer::severity;
use crate::node_log::Severity;
use crate::timestamp::utc_ms;
use crate::wall_clock;

/// A layer of the subscriber.
pub(super) struct JsonLines<M>(pub(super) M);

#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    level: Severity,
    target: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: &'a Map<String, Value>,
}

impl<S, M> Layer<S> for JsonLines<M>
where
    S: Subscriber,
    M: for<'a> MakeWriter<'a> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut content = LineContent::default();
        event.record(&mut content);
        let line = JsonLine {
            time: utc_ms(wall_clock::now_ms()),
            level: severity(*event.metadata().level()),
            target: event.metadata().target(),
            message: &content.message,
            fields: &content.fields,
        };
        if let Ok(line) = serde_json::to_string(&line) {
            // Standard error may be closed. The node goes on.
            let _ = self.0.make_writer().write_all(escaped(&line).as_bytes());
        }
    }
}

/// The line with its end. Characters that could move the cursor of a terminal are escaped: they are only within texts.
fn escaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len() + 1);
    for char in line.chars() {
        if is_unprintable(char) {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            text.push(char);
        }
    }
    text.push('\n');
    text
}

/// The message and the fields of an event.
#[derive(Default)]
struct LineContent {
    message: String,
    fields: Map<String, Value>,
}

impl LineContent {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for LineContent {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct KeptLines(Arc<Mutex<Vec<u8>>>);

    impl Write for KeptLines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: impl FnOnce()) -> String {
        let lines = KeptLines::default();
        let writer = lines.clone();
        let layer = JsonLines(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn each_event_is_one_object_with_its_fields() {
        let log = logged(|| {
            tracing::info!(target: "oarlock::node", term = 3_u64, ready = true, peer = %"node2", "elected");
            tracing::warn!(target: "guest", "a \"quote\"");
        });
        let mut lines = log.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line
        });
        let first = lines.next().expect("a line");
        let time = first["time"].as_str().expect("a time");
        assert!(time.ends_with('Z') && time.len() == 24, "{time}");
        assert_eq!(
            (&first["level"], &first["target"], &first["message"]),
            (&json!("info"), &json!("oarlock::node"), &json!("elected"))
        );
        assert_eq!(
            first["fields"],
            json!({"term": 3, "ready": true, "peer": "node2"})
        );
        let second = lines.next().expect("a line");
        assert_eq!(second["message"], "a \"quote\"");
        assert!(second.get("fields").is_none(), "{second}");
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_text_can_not_end_its_line_or_move_the_cursor() {
        let forged = "a\n{\"level\":\"error\"}\r\u{1b}[2K\u{9b}\u{202e}\u{e0001}b";
        let log = logged(|| tracing::info!(target: "guest", "{forged}"));
        assert_eq!(log.lines().count(), 1, "{log}");
        let body = log.trim_end_matches('\n');
        assert!(!body.contains(is_unprintable), "{log}");
        let line: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(line["message"], forged);
    }
}
