//! Standard output and error of a guest, as lines of its log.
//!
//! A stream is buffered by line. A line longer than the log's limit is split. An unfinished line is logged when the
//! call ends, so no output is kept between calls. Rate and number of lines have the limits of `host.log`.

use crate::guest::guest_log::{LINE_BYTES, Level};

/// Largest single write, in bytes.
pub(super) const WRITE_BYTES: usize = 64 << 10;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsoleStream {
    Output,
    Error,
}

impl ConsoleStream {
    /// The number of its handles.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Output => 1,
            Self::Error => 2,
        }
    }

    /// The stream of a handle. Only the host chooses the number.
    pub(super) fn of(number: u32) -> Self {
        if number == Self::Error.number() {
            Self::Error
        } else {
            Self::Output
        }
    }

    /// The level of its lines.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Output => Level::Info,
            Self::Error => Level::Warn,
        }
    }
}

/// Buffers of unfinished lines.
#[derive(Debug, Default)]
pub(crate) struct Console {
    output: Vec<u8>,
    error: Vec<u8>,
}

impl Console {
    /// Appends bytes, and passes each finished line to `line`, without its newline.
    pub(crate) fn write(
        &mut self,
        stream: ConsoleStream,
        bytes: &[u8],
        mut line: impl FnMut(&str),
    ) {
        let rest = self.rest(stream);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ended) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            for part in piece.chunks(LINE_BYTES) {
                let room = LINE_BYTES - rest.len();
                let (now, later) = part.split_at(room.min(part.len()));
                rest.extend_from_slice(now);
                if !later.is_empty() {
                    line(&String::from_utf8_lossy(rest));
                    rest.clear();
                    rest.extend_from_slice(later);
                }
            }
            if ended {
                line(&String::from_utf8_lossy(rest));
                rest.clear();
            }
        }
    }

    /// Passes the unfinished line of a stream to `line`, if there is one.
    pub(crate) fn finish(&mut self, stream: ConsoleStream, mut line: impl FnMut(&str)) {
        let rest = self.rest(stream);
        if !rest.is_empty() {
            line(&String::from_utf8_lossy(rest));
            rest.clear();
        }
    }

    fn rest(&mut self, stream: ConsoleStream) -> &mut Vec<u8> {
        match stream {
            ConsoleStream::Output => &mut self.output,
            ConsoleStream::Error => &mut self.error,
        }
    }
}

#[cfg(test)]
mod tests;
