//! The log of a node: lines on standard error, as text with colors if it is a terminal or as JSON, and the latest ones in memory for
//! `GET /v1/logs`.

mod json;
mod layer;

use std::io::{self, IsTerminal, Write};

use oarlock_wasm::is_unprintable;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::cli::{LogFormatArg, Origins};
use crate::exit::Failure;
use crate::node_log::NodeLog;
use json::JsonLines;
use layer::StoredLines;

/// Starts logging with a filter in the syntax of `tracing_subscriber::EnvFilter`.
///
/// # Errors
/// The filter is invalid.
pub(crate) fn start(filter: &str, format: LogFormatArg, origins: &Origins) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::usage(format!(
            "{}: {filter:?} is not a valid log filter ({error}); use a level (error, warn, info, debug, trace) or a list such as `info,task_queue_raft=debug`",
            origins.of("log")
        ))
    })?;
    let colors = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let printed = match format {
        LogFormatArg::Text => {
            let writer = OneLineEach {
                to: io::stderr,
                colors,
            };
            fmt::layer().with_ansi(colors).with_writer(writer).boxed()
        }
        LogFormatArg::Json => JsonLines(io::stderr).boxed(),
    };
    // The filter is that of both.
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(StoredLines(NodeLog::of_process()))
        .with(printed);
    // Only tests call this more than once per process. The first subscriber stays.
    if subscriber.try_init().is_err() {
        tracing::debug!("logging is already initialized");
    }
    Ok(())
}

/// Writes each event as one line. Texts of guests, clients and peers are in events, and must not look like lines of the node.
struct OneLineEach<M> {
    to: M,
    /// Lines contain sequences for colors.
    colors: bool,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLineEach<M> {
    type Writer = OneLineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter {
            to: self.to.make_writer(),
            colors: self.colors,
        }
    }
}

struct OneLineWriter<W> {
    to: W,
    colors: bool,
}

impl<W: Write> Write for OneLineWriter<W> {
    /// Each event arrives in one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(event.strip_suffix(b"\n").unwrap_or(event));
        let mut escaped = String::with_capacity(event.len() + 16);
        for (at, char) in line.char_indices() {
            if is_unsafe(&line[at..], self.colors) {
                escaped.extend(char.escape_default());
            } else {
                escaped.push(char);
            }
        }
        escaped.push('\n');
        self.to.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Whether a text begins with an unprintable character, which could end the line or move the cursor of a terminal. Tabs are
/// allowed, and sequences for colors where the lines have them.
fn is_unsafe(text: &str, colors: bool) -> bool {
    match text.chars().next() {
        Some('\u{1b}') => !(colors && is_color(&text[1..])),
        Some(first) => is_unprintable(first) && first != '\t',
        None => false,
    }
}

/// Whether a text after an escape character sets a color.
fn is_color(text: &str) -> bool {
    let parameters = text.strip_prefix('[');
    parameters.is_some_and(|parameters| {
        let digits = |char: char| char.is_ascii_digit() || char == ';';
        parameters.trim_start_matches(digits).starts_with('m')
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(colors: bool, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = fmt()
            .with_ansi(colors)
            .with_writer(OneLineEach {
                to: move || writer.clone(),
                colors,
            })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_message_with_line_ends_is_one_line() {
        let forged =
            "done\n2026-01-01T00:00:00Z ERROR oarlock: the node has stopped\r\x1b[2K\u{9b}2Kx";
        for colors in [false, true] {
            let log = logged(colors, || {
                tracing::info!(target: "guest", "{forged}");
                tracing::warn!(error = %forged, "a message");
            });
            assert_eq!(log.lines().count(), 2, "{log}");
            assert!(log.contains(r"done\n2026"), "{log}");
            assert!(!log.contains(['\r', '\u{9b}']), "{log}");
            assert!(!log.contains("\x1b[2K"), "{log}");
            assert_eq!(log.contains("\x1b["), colors, "{log}");
        }
    }

    #[test]
    fn a_message_can_not_change_the_direction_of_its_line() {
        let log = logged(false, || tracing::info!("a\u{202e}b\u{2028}c\u{2066}d\te"));
        assert!(
            log.ends_with("a\\u{202e}b\\u{2028}c\\u{2066}d\te\n"),
            "{log}"
        );
    }

    #[test]
    fn other_messages_stay_as_they_are() {
        let log = logged(false, || tracing::info!("plain: äöü"));
        assert!(log.ends_with("plain: äöü\n"), "{log}");
    }
}
