//! Standard output and error of a guest: lines of its log.
//!
//! A stream is buffered by lines, and a line is at most as long as the log keeps it; what is longer goes on in the next
//! one. A line without an end goes out when the call ends, so nothing waits from one call to the next. Rate and number
//! of lines have the bounds of `host.log`.

use crate::guest_log::{LINE_BYTES, Level};

/// Bytes that a guest may write at once.
pub(super) const WRITE_BYTES: usize = 64 << 10;

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

impl Stream {
    /// What a handle of it stands for.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Output => 1,
            Self::Error => 2,
        }
    }

    /// The stream of a handle, whose number only the host chooses.
    pub(super) fn of(number: u32) -> Self {
        if number == Self::Error.number() {
            Self::Error
        } else {
            Self::Output
        }
    }

    /// How bad its lines are.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Output => Level::Info,
            Self::Error => Level::Warn,
        }
    }
}

/// What was written and is no whole line yet.
#[derive(Debug, Default)]
pub(crate) struct Console {
    output: Vec<u8>,
    error: Vec<u8>,
}

impl Console {
    /// Takes bytes and gives the lines that they end to `line`, without their end.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], mut line: impl FnMut(&str)) {
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

    /// Gives out what is left of a stream, if anything is.
    pub(crate) fn finish(&mut self, stream: Stream, mut line: impl FnMut(&str)) {
        let rest = self.rest(stream);
        if !rest.is_empty() {
            line(&String::from_utf8_lossy(rest));
            rest.clear();
        }
    }

    fn rest(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Output => &mut self.output,
            Stream::Error => &mut self.error,
        }
    }
}

#[cfg(test)]
mod tests;
