//! Passes the log lines of this program and of the guest to a [`NodeLog`].

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::node_log::{LineSource, NodeLog, NodeLogLine, Severity};
use crate::wall_clock;

/// The target of the guest's lines.
const GUEST: &str = "guest";
/// The crates of this program begin with one of these. Lines of libraries are on standard error only: at the level `trace`
/// they may contain what clients have sent.
const CRATES: [&str; 2] = ["oarlock", "task_queue_raft"];

/// A layer of the subscriber.
pub(super) struct StoredLines(pub(super) Arc<NodeLog>);

impl<S: Subscriber> Layer<S> for StoredLines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let target = event.metadata().target();
        let source = if target == GUEST {
            LineSource::Guest
        } else if CRATES.iter().any(|name| is_within(target, name)) {
            LineSource::Node
        } else {
            return;
        };
        let mut text = LineText::default();
        event.record(&mut text);
        self.0.write(NodeLogLine {
            time_ms: wall_clock::now_ms(),
            level: severity(*event.metadata().level()),
            source,
            target,
            text: text.finish().into(),
        });
    }
}

/// Whether a target is a crate whose name begins so, or one of its modules.
fn is_within(target: &str, name: &str) -> bool {
    let rest = target.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('_'))
}

pub(super) fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warn,
        Level::INFO => Severity::Info,
        Level::DEBUG => Severity::Debug,
        Level::TRACE => Severity::Trace,
    }
}

/// The text of a line: the message, then the fields as `name=value`.
#[derive(Debug, Default)]
struct LineText {
    message: String,
    fields: String,
}

impl LineText {
    fn finish(self) -> String {
        if self.message.is_empty() {
            return self.fields.trim_start().to_owned();
        }
        self.message + &self.fields
    }
}

impl Visit for LineText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::node_log::{LineId, NextLine};

    #[test]
    fn lines_of_the_program_and_of_the_guest_are_stored() {
        let log = Arc::new(NodeLog::new(7));
        let subscriber = tracing_subscriber::registry().with(StoredLines(Arc::clone(&log)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "oarlock::node", term = 3, "elected");
            tracing::warn!(target: "guest", "{}", "level=error forged");
            tracing::error!(target: "hyper::proto", "authorization: secret");
            tracing::error!(target: "guesting", "of a library");
            tracing::debug!(target: "task_queue_raft::raft", peer = %"node2");
            tracing::trace!(target: "oarlock_wasm::guest", "called");
        });
        let mut lines = Vec::new();
        let mut place = LineId { log: 7, number: 0 };
        while let NextLine::Line(id, line) = log.after(place) {
            place = id;
            let (level, source, target) = (line.level, line.source, line.target);
            lines.push(format!("{level:?} {source:?} {target}: {}", line.text));
        }
        assert_eq!(
            lines,
            [
                "Info Node oarlock::node: elected term=3",
                "Warn Guest guest: level=error forged",
                "Debug Node task_queue_raft::raft: peer=node2",
                "Trace Node oarlock_wasm::guest: called",
            ]
        );
    }
}
