//! `GET /v1/entries`: committed entries from an index on, as a stream without end, for an archive of the log.
//!
//! The body is a sequence of frames: `u8` kind, `u32` length (big-endian), payload. `host/docs/formats.md` describes the kinds.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use task_queue_raft::driver::{CopiedEntries, LogCopy};
use task_queue_raft::ids::Index;
use task_queue_raft::storage::entry_record;
use task_queue_raft::{CLUSTER_LEVEL, Consistency};
use tokio::time::Instant;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::event_stream::Streaming;
use super::request;
use crate::archive_streams::ArchiveStream;

/// Pieces that wait for the client. At the limit, the log is not read further.
const PIECES: usize = 2;
/// Bytes of entries in one piece, after its first entry.
const PIECE_BYTES: u64 = 1 << 20;
/// The longest time without a frame.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Kinds of frames.
const HEAD: u8 = 1;
const ENTRY: u8 = 2;
const POSITION: u8 = 3;

/// The query string.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntriesParams {
    #[serde(default = "first_entry")]
    from: u64,
}

fn first_entry() -> u64 {
    1
}

/// The first frame.
#[derive(Debug, Serialize)]
struct EntriesHead {
    cluster_id: String,
    lineage: String,
    level: u32,
    node_id: String,
    /// The first entry of the stream.
    from: u64,
    /// Term of the entry before it; `null` if this node does not know it.
    term_before: Option<u64>,
    /// The last entry that is applied. All that was acknowledged before the request is in the entries up to it.
    applied: u64,
    release: &'static str,
}

/// Streams entries until the client disconnects, the node stops, has no leader, or no longer has the next entry.
pub(super) async fn entries(
    State(app): State<Arc<App>>,
    params: Result<Query<EntriesParams>, QueryRejection>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let timeout = request::timeout(request.headers())?;
    let malformed = |what: String| ApiError::malformed(what, "use `from=N`, the first entry");
    let Query(EntriesParams { from }) = params.map_err(|error| {
        malformed(format!(
            "the query string of the URL is invalid: {}",
            error.body_text()
        ))
    })?;
    if from == 0 {
        return Err(malformed(
            "from is 0, and the first entry of a log is 1".to_owned(),
        ));
    }
    let stream = app.archives.open(from - 1);
    let stream = stream.ok_or_else(|| ApiError::overloaded("streams of entries"))?;
    let before = app.auditor.quarantine();
    let opening = open(&app, Index(from), Instant::now() + timeout);
    let opened = tokio::time::timeout(timeout, opening).await;
    let first = opened.map_err(|_| {
        ApiError::no_response(
            "the log could not be read in time; repeat the request with a longer timeout",
        )
    })??;
    if app.auditor.is_quarantined() || !app.auditor.has_served_since(before) {
        return Err(ApiError::quarantined());
    }
    let head = head(&app, from, &first)?;
    let client = request::operator(request.extensions(), None);
    tracing::info!(from, client, "a client receives the entries of the log");
    let (sender, body) = Channel::new(PIECES);
    let sending = EntrySender {
        app,
        stream,
        sender,
        next: Index(from),
    };
    tokio::spawn(sending.run(head, first));
    Ok(respond(body))
}

fn respond(body: Channel<Bytes, io::Error>) -> Response<Body> {
    let mut response = Response::new(Body::new(body));
    response.extensions_mut().insert(Streaming);
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes sure that this node has applied all that was acknowledged before, and reads the first entries.
async fn open(app: &App, from: Index, deadline: Instant) -> Result<CopiedEntries, ApiError> {
    if app.raft.status().cluster_level == 0 {
        return Err(ApiError::new(
            ErrorCode::LevelTooLow,
            format!("the cluster has level 0, and archives need level 1 of {CLUSTER_LEVEL}"),
            "raise it with `oarlock settings raise-level`",
        ));
    }
    // A linearizable read of any content.
    let left = deadline.saturating_duration_since(Instant::now());
    let reading = app
        .raft
        .query(Bytes::new().into(), Consistency::Linearizable, left);
    let (_, _) = reading.await.map_err(|error| ApiError::of_query(&error))?;
    let copy = app.raft.copy_log(from, PIECE_BYTES).await;
    match copy.map_err(|error| ApiError::of_query(&error))? {
        LogCopy::Entries(copied) => Ok(copied),
        LogCopy::Compacted { first } => Err(ApiError::new(
            ErrorCode::Compacted,
            format!(
                "the log of this node begins with entry {first}: a snapshot has replaced entry {from}"
            ),
            "read it from a node that still has it, or take a backup and go on after that",
        )),
    }
}

fn head(app: &App, from: u64, first: &CopiedEntries) -> Result<Bytes, ApiError> {
    let status = app.raft.status();
    let head = EntriesHead {
        cluster_id: app.cluster_id(),
        lineage: status.lineage.to_string(),
        level: status.cluster_level,
        node_id: status.node_id.as_str().to_owned(),
        from,
        term_before: first.term_before.map(|term| term.0),
        applied: first.applied.0,
        release: env!("CARGO_PKG_VERSION"),
    };
    let text = serde_json::to_vec(&head);
    let text = text.map_err(|error| {
        ApiError::internal(format!("cannot encode the head of the entries: {error}"))
    })?;
    let mut frame = BytesMut::new();
    put_frame(&mut frame, HEAD, &[&text]);
    Ok(frame.freeze())
}

/// The client is gone, the node stops, or another node should go on.
struct StreamEnded;

struct EntrySender {
    app: Arc<App>,
    stream: ArchiveStream,
    sender: Sender<Bytes, io::Error>,
    next: Index,
}

impl EntrySender {
    /// Sends at the speed of the client. Where it ends, the client requests the next entry again, from this node or another one.
    async fn run(mut self, head: Bytes, first: CopiedEntries) {
        if self.sender.send_data(head).await.is_err() {
            return;
        }
        let mut copied = first;
        while self.send(&copied).await.is_ok() {
            match self.more().await {
                Ok(more) => copied = more,
                Err(StreamEnded) => return,
            }
        }
    }

    async fn send(&mut self, copied: &CopiedEntries) -> Result<(), StreamEnded> {
        let piece = piece(copied).map_err(|error| {
            tracing::error!(%error, "an entry could not be encoded for an archive: its connection is closed");
            StreamEnded
        })?;
        self.sender
            .send_data(piece)
            .await
            .map_err(|_| StreamEnded)?;
        if let Some(last) = copied.entries.last() {
            self.next = last.id.index.next();
        }
        let position = self.next.previous().0;
        self.stream.sent(copied.entries.len() as u64, position);
        Ok(())
    }

    /// The next entries, or none after the time of a heartbeat.
    async fn more(&mut self) -> Result<CopiedEntries, StreamEnded> {
        let next = self.next;
        let mut status = self.app.raft.watch_status();
        let mut open = self.app.streams.subscribe();
        let has_stopped = tokio::select! {
            applied = status.wait_for(|status| status.applied >= next) => applied.is_err(),
            () = tokio::time::sleep(HEARTBEAT) => false,
            _ = open.wait_for(|open| !*open) => true,
        };
        // A node without a leader may lag without knowing it.
        if has_stopped || self.app.raft.status().leader.is_none() {
            return Err(StreamEnded);
        }
        match self.app.raft.copy_log(next, PIECE_BYTES).await {
            Ok(LogCopy::Entries(copied)) => Ok(copied),
            Ok(LogCopy::Compacted { .. }) | Err(_) => Err(StreamEnded),
        }
    }
}

/// A frame for each entry, and one for the position of this node.
fn piece(copied: &CopiedEntries) -> Result<Bytes, task_queue_raft::storage::StorageError> {
    let mut frames = BytesMut::new();
    let mut record = Vec::new();
    for entry in &copied.entries {
        entry_record::encode(entry, &mut record)?;
        put_frame(
            &mut frames,
            ENTRY,
            &[&entry.id.index.0.to_be_bytes(), &record],
        );
    }
    let (applied, time_ms) = (copied.applied.0.to_be_bytes(), copied.time_ms.to_be_bytes());
    put_frame(&mut frames, POSITION, &[&applied, &time_ms]);
    Ok(frames.freeze())
}

fn put_frame(to: &mut BytesMut, kind: u8, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    // A record has at most 256 MiB.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    to.put_u8(kind);
    to.put_u32(length);
    payload.iter().for_each(|part| to.put_slice(part));
}
