//! What `oarlock archive` prints: one line for each event, and on a terminal a line with the lag that is written again.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oarlock_client::{Endpoint, RequestError};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::archive::{ArchivePosition, ArchiveWriter};
use crate::command::output::print_safely;
use crate::timestamp::utc;

/// How often the lag is printed.
const JSON_PAUSE: Duration = Duration::from_secs(1);
const TEXT_PAUSE: Duration = Duration::from_secs(60);

/// How far the archive is behind a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ArchiveLag {
    entries: u64,
    /// Between the last archived entry and the last one of the node, by the time of the log.
    ms: u64,
}

pub(super) struct ArchiveProgress {
    json: bool,
    /// On a terminal.
    bar: Option<ProgressBar>,
    /// The last position of a node, and its time.
    known: Option<(u64, u64)>,
    endpoint: String,
    due: Instant,
    /// The last error that was printed: the same one is not repeated.
    last_error: String,
}

impl ArchiveProgress {
    pub(super) fn new(json: bool) -> Self {
        let is_terminal = !json && std::io::stderr().is_terminal();
        let bar = is_terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            match ProgressStyle::with_template("{spinner} {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            json,
            bar,
            known: None,
            endpoint: String::new(),
            due: Instant::now(),
            last_error: String::new(),
        }
    }

    /// The archive was opened.
    pub(super) fn opened(&mut self, writer: &ArchiveWriter) {
        let bytes = writer.removed_bytes();
        if bytes > 0 {
            self.print(
                &json!({"event": "removed_incomplete_end", "bytes": bytes, "index": writer.last().index}),
                &format!(
                    "the last {bytes} bytes of the archive were not complete, and are removed; it goes on after entry {}",
                    writer.last().index
                ),
            );
        }
    }

    /// The archive goes on after this entry. `before`: a new base was needed, and the entries between are not in the archive.
    pub(super) fn base(&mut self, last: ArchivePosition, before: Option<ArchivePosition>) {
        let Some(before) = before else {
            return self.print(
                &json!({"event": "begun", "index": last.index, "time_ms": last.time_ms}),
                &format!(
                    "the archive has the entries up to {} of {}",
                    last.index,
                    utc(last.time_ms)
                ),
            );
        };
        let (from, to) = (before.index + 1, last.index);
        self.print(
            &json!({"event": "gap", "from": from, "to": to, "missed": to + 1 - from, "index": last.index, "time_ms": last.time_ms}),
            &format!(
                "no node has entry {from} any more: a new base has the entries up to {to} of {}. Points between them can't be restored",
                utc(last.time_ms)
            ),
        );
    }

    /// A new base was needed, and no node made one.
    pub(super) fn no_base(&mut self, error: &str) {
        self.print(
            &json!({"event": "no_base", "error": error}),
            &format!("no node made a new base, trying again: {error}"),
        );
    }

    pub(super) fn connected(&mut self, endpoint: &Endpoint) {
        self.last_error.clear();
        self.endpoint = endpoint.to_string();
        self.print(
            &json!({"event": "connected", "endpoint": self.endpoint}),
            &format!("receiving entries from {endpoint}"),
        );
    }

    pub(super) fn disconnected(
        &mut self,
        endpoint: &Endpoint,
        error: &RequestError,
        last: ArchivePosition,
    ) {
        let text = format!("{endpoint}: {error}");
        if text == self.last_error {
            return;
        }
        let lag = self.lag(last);
        self.print(
            &json!({"event": "disconnected", "endpoint": endpoint.to_string(), "error": error.to_string(), "index": last.index, "lag_entries": lag.entries, "lag_ms": lag.ms}),
            &format!("{text}; the archive has the entries up to {}, trying the next node", last.index),
        );
        self.last_error = text;
    }

    /// A node tells how far it is.
    pub(super) fn position(
        &mut self,
        endpoint: &Endpoint,
        applied: u64,
        time_ms: u64,
        last: ArchivePosition,
    ) {
        self.endpoint = endpoint.to_string();
        self.known = Some((applied, time_ms));
        self.archived(last);
    }

    /// The archive has the entries up to `last`.
    pub(super) fn archived(&mut self, last: ArchivePosition) {
        if self.known.is_none() {
            // The lag is not known yet.
            return;
        }
        let lag = self.lag(last);
        if let Some(bar) = &self.bar {
            bar.set_message(self.lag_text(last, lag));
            return bar.tick();
        }
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + if self.json { JSON_PAUSE } else { TEXT_PAUSE };
        let value = json!({
            "event": "archived",
            "index": last.index,
            "time_ms": last.time_ms,
            "lag_entries": lag.entries,
            "lag_ms": lag.ms,
            "endpoint": self.endpoint,
        });
        self.print(&value, &self.lag_text(last, lag));
    }

    pub(super) fn caught_up(&mut self, last: ArchivePosition) {
        self.finish();
        self.print(
            &json!({"event": "caught_up", "index": last.index, "time_ms": last.time_ms}),
            &format!(
                "the archive has all that was acknowledged before: the entries up to {} of {}",
                last.index,
                utc(last.time_ms)
            ),
        );
    }

    pub(super) fn stopped(&mut self, last: ArchivePosition) {
        self.finish();
        let lag = self.lag(last);
        self.print(
            &json!({"event": "stopped", "index": last.index, "time_ms": last.time_ms, "lag_entries": lag.entries, "lag_ms": lag.ms}),
            &format!(
                "stopped: the archive has the entries up to {}. Run the same command again to go on",
                last.index
            ),
        );
    }

    fn lag(&self, last: ArchivePosition) -> ArchiveLag {
        let (applied, time_ms) = self.known.unwrap_or_default();
        let entries = applied.saturating_sub(last.index);
        let ms = if entries == 0 {
            0
        } else {
            time_ms.saturating_sub(last.time_ms)
        };
        ArchiveLag { entries, ms }
    }

    fn lag_text(&self, last: ArchivePosition, lag: ArchiveLag) -> String {
        format!(
            "entries up to {} of {}, lag {} entries, {}.{:03} s, from {}",
            last.index,
            utc(last.time_ms),
            lag.entries,
            lag.ms / 1000,
            lag.ms % 1000,
            self.endpoint
        )
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// JSON goes to standard output, text to standard error. Either may be closed: the archive goes on.
    fn print(&self, value: &Value, text: &str) {
        if self.json {
            let _ = writeln!(std::io::stdout().lock(), "{value}");
        } else if let Some(bar) = &self.bar {
            bar.suspend(|| crate::command::output::warn(&print_safely(text)));
        } else {
            crate::command::output::warn(text);
        }
    }
}
