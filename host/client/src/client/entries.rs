//! Receives committed entries, for an archive of the log.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use super::Client;
use super::attempts::AttemptError;
use super::response;
use crate::endpoint::Endpoint;
use crate::error::RequestError;

/// A node sends a frame every second. After this time without one, the stream has failed.
const SILENCE: Duration = Duration::from_secs(10);
/// Kind and length of a frame.
const FRAME_HEAD_BYTES: usize = 5;
/// The longest payload of a frame.
const MAX_FRAME_BYTES: usize = (256 << 20) + 64;

const HEAD: u8 = 1;
const ENTRY: u8 = 2;
const POSITION: u8 = 3;

/// What a node tells before it sends entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct EntryStreamHead {
    /// The cluster.
    pub cluster_id: String,
    /// Its history, in hex.
    pub lineage: String,
    /// Its level.
    pub level: u32,
    /// The node.
    pub node_id: String,
    /// Term of the entry before the first one, if the node knows it.
    pub term_before: Option<u64>,
    /// The entries up to this one contain all that was acknowledged before the request.
    pub applied: u64,
}

/// A part of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryFrame {
    /// An entry of the log.
    Entry {
        /// Its index.
        index: u64,
        /// Its record, as `host/docs/formats.md` describes it.
        record: Bytes,
    },
    /// How far the node is.
    Position {
        /// The last entry that it has applied.
        applied: u64,
        /// The time of the log there, in milliseconds since 1970.
        time_ms: u64,
    },
}

/// Entries that are being received from one node.
#[derive(Debug)]
pub struct EntryStream {
    endpoint: Endpoint,
    body: Incoming,
    buffer: BytesMut,
    head: EntryStreamHead,
}

impl Client {
    /// Requests the entries from `from` on from the node at `endpoint`, in one attempt.
    ///
    /// # Errors
    /// The node does not respond, or refuses. [`RequestError::is_compacted`]: it does not have the entry any more.
    pub async fn entries(
        &self,
        endpoint: &Endpoint,
        from: u64,
    ) -> Result<EntryStream, RequestError> {
        let shared = &self.shared;
        let limit = shared.options.timeout;
        let target = format!("/v1/entries?from={from}");
        let failed = |error| AttemptError::of(endpoint, error).into_error(limit);
        let opened = shared.transport.open(endpoint, &target, None, limit).await;
        let opened = opened.map_err(failed)?;
        if opened.status() != StatusCode::OK {
            let max_reply_bytes = shared.options.max_reply_bytes;
            let reading = shared.transport.read(opened, max_reply_bytes, limit).await;
            let reply = reading.map_err(failed)?;
            let is_declined =
                reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS;
            if is_declined {
                return Err(super::attempts::declined(endpoint, reply).into_error(limit));
            }
            response::expect_ok(endpoint, reply)?;
            return Err(failed(crate::transport::ExchangeError::Silent));
        }
        let mut stream = EntryStream {
            endpoint: endpoint.clone(),
            body: opened.into_body(),
            buffer: BytesMut::new(),
            head: EntryStreamHead::default(),
        };
        stream.read_head().await?;
        Ok(stream)
    }
}

impl EntryStream {
    /// The node that sends the entries.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What it told before.
    #[must_use]
    pub fn head(&self) -> &EntryStreamHead {
        &self.head
    }

    /// The next frame; `None` if the node has ended the stream: request the next entry again. If the future is dropped before it
    /// completes, no frame is lost.
    ///
    /// # Errors
    /// The connection broke, nothing arrives for 10 seconds, or the node sends something else.
    pub async fn next(&mut self) -> Result<Option<EntryFrame>, RequestError> {
        let Some((kind, mut payload)) = self.next_payload().await? else {
            return Ok(None);
        };
        match (kind, payload.len()) {
            (ENTRY, 8..) => Ok(Some(EntryFrame::Entry {
                index: payload.get_u64(),
                record: payload,
            })),
            (POSITION, 16) => Ok(Some(EntryFrame::Position {
                applied: payload.get_u64(),
                time_ms: payload.get_u64(),
            })),
            _ => Err(self.malformed(format!("a frame of kind {kind} is not valid"))),
        }
    }

    async fn read_head(&mut self) -> Result<(), RequestError> {
        match self.next_payload().await? {
            Some((HEAD, payload)) => {
                let head = serde_json::from_slice(&payload);
                self.head = head.map_err(|error| self.malformed(error.to_string()))?;
                Ok(())
            }
            _ => Err(self.malformed("the stream of entries has no head".to_owned())),
        }
    }

    async fn next_payload(&mut self) -> Result<Option<(u8, Bytes)>, RequestError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let frame = timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_elapsed| RequestError::TimedOut {
                waited: SILENCE,
                message: format!("{} sends nothing more", self.endpoint),
            })?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| RequestError::Broken {
                endpoint: self.endpoint.clone(),
                message: error.to_string(),
            })?;
            // Trailers have no data.
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    /// A frame that has arrived completely.
    fn take_frame(&mut self) -> Result<Option<(u8, Bytes)>, RequestError> {
        let Some(mut head) = self.buffer.get(..FRAME_HEAD_BYTES) else {
            return Ok(None);
        };
        let (kind, length) = (head.get_u8(), head.get_u32() as usize);
        if length > MAX_FRAME_BYTES {
            return Err(self.malformed(format!("a frame has {length} bytes")));
        }
        if self.buffer.len() < FRAME_HEAD_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(FRAME_HEAD_BYTES);
        Ok(Some((kind, self.buffer.split_to(length).freeze())))
    }

    fn malformed(&self, message: String) -> RequestError {
        RequestError::Malformed {
            endpoint: self.endpoint.clone(),
            message,
        }
    }
}
