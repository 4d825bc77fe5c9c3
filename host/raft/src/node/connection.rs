//! Both directions of a connection: handshake, frames in, frames out, keep-alives.

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

/// Size of one read, and of the buffer of an idle reader, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Frames are gathered into one write up to this size, in bytes.
const WRITE_BYTES: usize = 1 << 20;

/// A buffer that grew past this size for a large frame is freed afterwards, in bytes.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    /// The peer closed it between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer closed it within a frame.
    #[error("the peer closed the connection in the middle of a frame")]
    Cut,
    /// No byte arrived for [`NetworkLimits::dead_after`].
    #[error("no data from the peer for {} ms: its process hangs or the network is down; this node reconnects by itself", .0.as_millis())]
    Silent(Duration),
    /// The peer's certificate was revoked, or is not valid any more.
    #[error("the peer is no longer trusted: its certificate was revoked or its authority removed")]
    Distrusted,
    /// The operating system closed it.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The bytes are not a valid frame.
    #[error("the peer sent a frame that is not valid")]
    Frame(#[from] FrameError),
}

/// How a connection ended.
pub(super) enum ConnectionEnd {
    /// This node closed it.
    Stopped,
    /// The peer or the network closed it.
    Lost(ConnectionError),
}

/// Why a handshake failed.
#[derive(Debug, Error)]
pub(super) enum HandshakeError {
    /// The peer's hello did not arrive within [`NetworkLimits::hello_timeout`].
    #[error("no hello within {} ms: the process hangs, or the port belongs to another program; check the address", .0.as_millis())]
    Timeout(Duration),
    /// The connection could not be secured.
    #[error("the connection could not be secured")]
    Security(#[source] io::Error),
    /// The connection closed first.
    #[error("the connection closed before the hello was complete")]
    Io(#[from] io::Error),
    /// The bytes are not a valid handshake.
    #[error(transparent)]
    Hello(#[from] HelloError),
}

/// The messages of one direction: requests or responses.
pub(super) trait WireMessage: Sized {
    /// Appends the message as a frame; a longer frame than `limit` bytes is an error.
    fn encode(&self, limit: usize, out: &mut Vec<u8>) -> Result<(), FrameError>;
    /// Decodes the message from the body of a frame.
    fn decode(body: &[u8]) -> Result<Self, FrameError>;
    /// Counts `count` messages as dropped.
    fn count_dropped(stats: &NetworkStats, count: usize);
    /// Estimated memory of the queued message, in bytes.
    fn cost(&self) -> usize;
    /// The lowest version of the protocol that has the message.
    fn min_protocol(&self) -> u16;
}

/// The part of [`WireMessage::cost`] that does not depend on the data, in bytes.
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

    fn min_protocol(&self) -> u16 {
        Self::min_protocol(self)
    }

    fn cost(&self) -> usize {
        const COMMAND: usize = 24;
        let data = match self {
            Self::AppendEntries(append) => {
                let cost: u64 = append.entries.iter().map(crate::entry::Entry::cost).sum();
                usize::try_from(cost).unwrap_or(usize::MAX)
            }
            Self::InstallSnapshot(install)
            | Self::InstallMembers(install, _)
            | Self::InstallCluster(install, ..) => install.data.len(),
            Self::Forward(forward) => forward
                .commands
                .iter()
                .map(|command| COMMAND + command.data.len())
                .sum(),
            Self::RequestVote(_)
            | Self::ReadIndex(_)
            | Self::TimeoutNow(_)
            | Self::Admin(_)
            | Self::BootstrapProbe(_)
            | Self::RejoinGranted(_)
            | Self::Clock(_)
            | Self::StoreReplaced(_) => 0,
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

    fn min_protocol(&self) -> u16 {
        Self::min_protocol(self)
    }

    fn cost(&self) -> usize {
        let data = match self {
            Self::Forward(forward) => forward.sequences.len() * size_of::<u64>(),
            _ => 0,
        };
        data + MESSAGE_COST
    }
}

/// Reads the first frame of a connection, and no byte after it.
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
    let writing = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    };
    timeout(deadline, writing)
        .await
        .map_err(|_| HandshakeError::Timeout(deadline))??;
    Ok(())
}

/// Splits a stream of bytes into frames.
pub(super) struct FrameReader<'a, R> {
    stream: R,
    buffer: BytesMut,
    limits: &'a NetworkLimits,
    stats: &'a NetworkStats,
}

/// A received frame.
pub(super) enum IncomingFrame<T> {
    /// A frame without a message: the peer is alive.
    KeepAlive,
    /// A message, and the length of its frame in bytes.
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

    /// Waits for the next frame. Notifies `probe` if no byte arrives for [`NetworkLimits::keep_alive`].
    pub(super) async fn next<T: WireMessage>(
        &mut self,
        probe: Option<&Notify>,
    ) -> Result<IncomingFrame<T>, ConnectionError> {
        loop {
            if let Some(incoming) = self.buffered()? {
                return Ok(incoming);
            }
            self.make_room()?;
            self.fill(probe).await?;
        }
    }

    /// Takes a frame out of the buffer if it is complete.
    fn buffered<T: WireMessage>(&mut self) -> Result<Option<IncomingFrame<T>>, ConnectionError> {
        match self.next_length()? {
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

    /// The length of the frame at the front of the buffer, if its prefix has arrived.
    fn next_length(&self) -> Result<Option<FrameLength>, FrameError> {
        let prefix = self.buffer.first_chunk::<LENGTH_BYTES>();
        prefix
            .map(|prefix| frame::decode_length(*prefix, self.limits.max_frame_bytes))
            .transpose()
    }

    /// Grows the buffer by at most its current content, so that a false length can't reserve memory.
    fn make_room(&mut self) -> Result<(), ConnectionError> {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        let missing = match self.next_length()? {
            Some(FrameLength::Body(length)) => LENGTH_BYTES + length - self.buffer.len(),
            Some(FrameLength::KeepAlive) | None => LENGTH_BYTES,
        };
        let step = missing.min(self.buffer.len()).max(READ_BYTES);
        self.buffer.reserve(step);
        Ok(())
    }

    async fn fill(&mut self, probe: Option<&Notify>) -> Result<(), ConnectionError> {
        let dead_at = Instant::now() + self.limits.dead_after;
        if let Some(probe) = probe {
            match timeout(
                self.limits.keep_alive,
                self.stream.read_buf(&mut self.buffer),
            )
            .await
            {
                Ok(read) => return self.filled(read),
                Err(_) => probe.notify_one(),
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

/// Writes frames, as many in one write as are queued, up to [`WRITE_BYTES`].
pub(super) struct FrameWriter<'a, W> {
    stream: W,
    buffer: Vec<u8>,
    limits: &'a NetworkLimits,
    stats: &'a NetworkStats,
    /// Version of the protocol of the connection.
    protocol: u16,
}

impl<'a, W: AsyncWrite + Unpin> FrameWriter<'a, W> {
    pub(super) fn new(
        stream: W,
        limits: &'a NetworkLimits,
        stats: &'a NetworkStats,
        protocol: u16,
    ) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(READ_BYTES),
            limits,
            stats,
            protocol,
        }
    }

    /// Writes the messages of `queue`, and one keep-alive for each notification of `alive`.
    /// Returns when the queue is closed and all of its messages are written.
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
                // Signals to the peer that no more frames follow. An error is harmless: the connection ends anyway.
                return Ok(self.stream.shutdown().await?);
            }
            while !waiting.messages.is_empty() || !self.buffer.is_empty() {
                let frames = self.gather(&mut waiting.messages);
                self.stream.write_all(&self.buffer).await?;
                // A secured stream has a buffer of its own.
                self.stream.flush().await?;
                self.stats.add_bytes_out(self.buffer.len());
                self.stats.add_frames_out(frames);
                self.buffer.clear();
            }
            if self.buffer.capacity() > KEPT_BUFFER_BYTES {
                self.buffer = Vec::with_capacity(READ_BYTES);
            }
        }
    }

    /// Encodes messages into the buffer until it holds [`WRITE_BYTES`]; returns the number of frames.
    fn gather<T: WireMessage>(&mut self, waiting: &mut VecDeque<T>) -> usize {
        let mut frames = 0;
        while self.buffer.len() < WRITE_BYTES {
            let Some(message) = waiting.pop_front() else {
                break;
            };
            if message.min_protocol() > self.protocol {
                T::count_dropped(self.stats, 1);
                continue;
            }
            match message.encode(self.limits.max_frame_bytes, &mut self.buffer) {
                Ok(()) => frames += 1,
                Err(error) => {
                    T::count_dropped(self.stats, 1);
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "message dropped: it could not be encoded"
                    );
                }
            }
        }
        frames
    }
}

/// Messages between queue and socket. Those that remain when the connection ends are counted as dropped.
struct UnsentMessages<'a, T: WireMessage> {
    messages: VecDeque<T>,
    stats: &'a NetworkStats,
}

impl<T: WireMessage> Drop for UnsentMessages<'_, T> {
    fn drop(&mut self) {
        T::count_dropped(self.stats, self.messages.len());
    }
}
