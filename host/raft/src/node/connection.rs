//! What both ends of a connection do once TCP has brought it about: openings, frames in, frames out, signs of life.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::frame::{self, FrameError, FrameLength, KEEP_ALIVE, LENGTH_BYTES};
use super::hello::{Handshake, HelloError};
use super::limits::NetworkLimits;
use super::queue::SendQueue;
use super::stats::NetworkStats;
use crate::message::{RaftRequest, RaftResponse};

/// Bytes that are asked for at a time, and that a reader holds when nothing comes.
const READ_BYTES: usize = 64 << 10;

/// Bytes of frames that are gathered into one write.
const WRITE_BYTES: usize = 1 << 20;

/// A buffer that a large frame has grown past this is given back.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    /// The other end closed it between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The other end closed it within a frame.
    #[error("the peer closed the connection in the middle of a frame")]
    Cut,
    /// Nothing came, not even a sign of life.
    #[error("nothing came from the peer for {} ms: it hangs, or the network between is down", .0.as_millis())]
    Silent(Duration),
    /// The operating system gave it up.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// Something else than a frame came.
    #[error("the peer sent something that is no message")]
    Frame(#[from] FrameError),
}

/// How a connection ended.
pub(super) enum ConnectionEnd {
    /// By this node's will.
    Stopped,
    /// By somebody else's.
    Lost(ConnectionError),
}

/// Why there is no opening to read.
#[derive(Debug, Error)]
pub(super) enum HandshakeError {
    /// Too late.
    #[error("no hello within {} ms: it's no Oarlock node, or it hangs", .0.as_millis())]
    Timeout(Duration),
    /// Gone.
    #[error("the connection ended before the hello did")]
    Io(#[from] io::Error),
    /// Something else came.
    #[error(transparent)]
    Hello(#[from] HelloError),
}

/// A message of one direction.
pub(super) trait WireMessage: Sized {
    /// Appends it as a frame.
    fn encode(&self, limit: usize, out: &mut Vec<u8>) -> Result<(), FrameError>;
    /// Reads it from the body of a frame.
    fn decode(body: &[u8]) -> Result<Self, FrameError>;
    /// Counts `count` of them as not sent.
    fn count_dropped(stats: &NetworkStats, count: usize);
    /// About how many bytes it occupies while it waits.
    fn cost(&self) -> usize;
}

/// What a message costs besides its data, in bytes.
const MESSAGE_COST: usize = 128;

impl WireMessage for RaftRequest {
    fn encode(&self, limit: usize, out: &mut Vec<u8>) -> Result<(), FrameError> {
        frame::encode_request(self, limit, out)
    }

    fn decode(body: &[u8]) -> Result<Self, FrameError> {
        frame::decode_request(body)
    }

    fn count_dropped(stats: &NetworkStats, count: usize) {
        stats.add_dropped_requests(count);
    }

    fn cost(&self) -> usize {
        const COMMAND: usize = 24;
        let data = match self {
            Self::AppendEntries(append) => {
                let cost: u64 = append.entries.iter().map(crate::types::Entry::cost).sum();
                usize::try_from(cost).unwrap_or(usize::MAX)
            }
            Self::InstallSnapshot(install) | Self::InstallMembers(install, _) => install.data.len(),
            Self::Forward(forward) => forward
                .commands
                .iter()
                .map(|command| COMMAND + command.data.len())
                .sum(),
            Self::RequestVote(_)
            | Self::ReadIndex(_)
            | Self::TimeoutNow(_)
            | Self::Order(_)
            | Self::Newborn(_)
            | Self::Welcome(_) => 0,
        };
        data.saturating_add(MESSAGE_COST)
    }
}

impl WireMessage for RaftResponse {
    fn encode(&self, limit: usize, out: &mut Vec<u8>) -> Result<(), FrameError> {
        frame::encode_response(self, limit, out)
    }

    fn decode(body: &[u8]) -> Result<Self, FrameError> {
        frame::decode_response(body)
    }

    fn count_dropped(stats: &NetworkStats, count: usize) {
        stats.add_dropped_responses(count);
    }

    fn cost(&self) -> usize {
        let data = match self {
            Self::Forward(forward) => forward.sequences.len() * size_of::<u64>(),
            _ => 0,
        };
        data + MESSAGE_COST
    }
}

/// Reads the first frame of a connection and not a byte more.
pub(super) async fn read_handshake(
    stream: &mut (impl AsyncRead + Unpin),
    deadline: Duration,
) -> Result<Handshake, HandshakeError> {
    let reading = async {
        let mut prefix = [0; LENGTH_BYTES];
        stream.read_exact(&mut prefix).await?;
        let mut body = vec![0; Handshake::decode_length(prefix)?];
        stream.read_exact(&mut body).await?;
        Ok(Handshake::decode(&body)?)
    };
    timeout(deadline, reading)
        .await
        .unwrap_or(Err(HandshakeError::Timeout(deadline)))
}

/// Writes the first frame of a connection.
pub(super) async fn write_handshake(
    stream: &mut (impl AsyncWrite + Unpin),
    opening: &Handshake,
    deadline: Duration,
) -> Result<(), HandshakeError> {
    let frame = opening.encode();
    timeout(deadline, stream.write_all(&frame))
        .await
        .map_err(|_| HandshakeError::Timeout(deadline))??;
    Ok(())
}

/// Takes frames out of a stream of bytes.
pub(super) struct FrameReader<'a, R> {
    stream: R,
    buffer: BytesMut,
    limits: &'a NetworkLimits,
    stats: &'a NetworkStats,
}

/// What a frame was.
pub(super) enum IncomingFrame<T> {
    /// A sign of life, which carries nothing.
    KeepAlive,
    /// A message, and the bytes of its frame.
    Message(T, usize),
}

impl<'a, R: AsyncRead + Unpin> FrameReader<'a, R> {
    pub(super) fn new(stream: R, limits: &'a NetworkLimits, stats: &'a NetworkStats) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            limits,
            stats,
        }
    }

    /// The next frame. `ask` is notified when nothing has come for [`NetworkLimits::keep_alive`].
    pub(super) async fn next<T: WireMessage>(
        &mut self,
        ask: Option<&Notify>,
    ) -> Result<IncomingFrame<T>, ConnectionError> {
        loop {
            if let Some(incoming) = self.buffered()? {
                return Ok(incoming);
            }
            self.make_room()?;
            self.fill(ask).await?;
        }
    }

    /// Takes a frame out of the buffer if all of it is there.
    fn buffered<T: WireMessage>(&mut self) -> Result<Option<IncomingFrame<T>>, ConnectionError> {
        match self.awaited()? {
            Some(FrameLength::KeepAlive) => {
                drop(self.buffer.split_to(LENGTH_BYTES));
                Ok(Some(IncomingFrame::KeepAlive))
            }
            Some(FrameLength::Body(length)) if self.buffer.len() >= LENGTH_BYTES + length => {
                let frame = self.buffer.split_to(LENGTH_BYTES + length);
                self.stats.add_frames_in(1);
                Ok(Some(IncomingFrame::Message(
                    T::decode(&frame[LENGTH_BYTES..])?,
                    frame.len(),
                )))
            }
            Some(FrameLength::Body(_)) | None => Ok(None),
        }
    }

    /// The length of the frame at the front, once it is known.
    fn awaited(&self) -> Result<Option<FrameLength>, FrameError> {
        let prefix = self.buffer.first_chunk::<LENGTH_BYTES>();
        prefix
            .map(|prefix| frame::decode_length(*prefix, self.limits.max_frame_bytes))
            .transpose()
    }

    /// Grows with what has come, not with what has been announced.
    fn make_room(&mut self) -> Result<(), ConnectionError> {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        let missing = match self.awaited()? {
            Some(FrameLength::Body(length)) => LENGTH_BYTES + length - self.buffer.len(),
            Some(FrameLength::KeepAlive) | None => LENGTH_BYTES,
        };
        let step = missing.min(self.buffer.len()).max(READ_BYTES);
        self.buffer.reserve(step);
        Ok(())
    }

    async fn fill(&mut self, ask: Option<&Notify>) -> Result<(), ConnectionError> {
        let dead_at = Instant::now() + self.limits.dead_after;
        if let Some(ask) = ask {
            match timeout(
                self.limits.keep_alive,
                self.stream.read_buf(&mut self.buffer),
            )
            .await
            {
                Ok(read) => return self.filled(read),
                Err(_) => ask.notify_one(),
            }
        }
        match tokio::time::timeout_at(dead_at, self.stream.read_buf(&mut self.buffer)).await {
            Ok(read) => self.filled(read),
            Err(_) => Err(ConnectionError::Silent(self.limits.dead_after)),
        }
    }

    fn filled(&mut self, read: io::Result<usize>) -> Result<(), ConnectionError> {
        match read? {
            0 if self.buffer.is_empty() => Err(ConnectionError::Closed),
            0 => Err(ConnectionError::Cut),
            bytes => {
                self.stats.add_bytes_in(bytes);
                Ok(())
            }
        }
    }
}

/// Writes frames, as many at a time as there are.
pub(super) struct FrameWriter<'a, W> {
    stream: W,
    buffer: Vec<u8>,
    limits: &'a NetworkLimits,
    stats: &'a NetworkStats,
}

impl<'a, W: AsyncWrite + Unpin> FrameWriter<'a, W> {
    pub(super) fn new(stream: W, limits: &'a NetworkLimits, stats: &'a NetworkStats) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(READ_BYTES),
            limits,
            stats,
        }
    }

    /// Writes what comes into `queue`, and a sign of life for each notification of `alive`.
    /// Returns once the queue is closed and everything in it is written.
    pub(super) async fn run<T: WireMessage>(
        mut self,
        queue: &SendQueue<T>,
        alive: &Notify,
    ) -> Result<(), ConnectionError> {
        let mut waiting = UnsentMessages {
            messages: VecDeque::new(),
            stats: self.stats,
        };
        loop {
            let open = tokio::select! {
                open = queue.take(&mut waiting.messages) => open,
                () = alive.notified() => {
                    self.buffer.extend_from_slice(&KEEP_ALIVE);
                    true
                }
            };
            if !open {
                // The other end learns that nothing more comes. That it may be gone already is no loss.
                return Ok(self.stream.shutdown().await?);
            }
            while !waiting.messages.is_empty() || !self.buffer.is_empty() {
                let frames = self.gather(&mut waiting.messages);
                self.stream.write_all(&self.buffer).await?;
                self.stats.add_bytes_out(self.buffer.len());
                self.stats.add_frames_out(frames);
                self.buffer.clear();
            }
            if self.buffer.capacity() > KEPT_BUFFER_BYTES {
                self.buffer = Vec::with_capacity(READ_BYTES);
            }
        }
    }

    /// Moves messages into the buffer until it is worth a write.
    fn gather<T: WireMessage>(&mut self, waiting: &mut VecDeque<T>) -> usize {
        let mut frames = 0;
        while self.buffer.len() < WRITE_BYTES {
            let Some(message) = waiting.pop_front() else {
                break;
            };
            match message.encode(self.limits.max_frame_bytes, &mut self.buffer) {
                Ok(()) => frames += 1,
                Err(error) => {
                    T::count_dropped(self.stats, 1);
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "message dropped: it can't be sent"
                    );
                }
            }
        }
        frames
    }
}

/// Messages on their way from the queue to the socket: those left when the connection ends count as dropped.
struct UnsentMessages<'a, T: WireMessage> {
    messages: VecDeque<T>,
    stats: &'a NetworkStats,
}

impl<T: WireMessage> Drop for UnsentMessages<'_, T> {
    fn drop(&mut self) {
        T::count_dropped(self.stats, self.messages.len());
    }
}
