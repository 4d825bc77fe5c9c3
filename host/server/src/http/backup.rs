//! `GET /v1/backup`: the state of the cluster as one file, while clients write.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use task_queue_raft::entry::SnapshotMeta;
use task_queue_raft::raft::membership::Membership;
use task_queue_raft::storage::SnapshotStore;
use task_queue_raft::storage::snapshot::SnapshotFiles;
use task_queue_raft::{CLUSTER_LEVEL, Consistency};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::event_stream::Streaming;
use super::operations::{self, Operation};
use super::{request, snapshot};
use crate::backup::{BackupMember, BackupWriter, Manifest};
use crate::observations::Observations;

/// Pieces that wait for the client. At the limit, the disk is not read further.
const PIECES: usize = 4;
/// How often a newer snapshot may replace the one that was found before it is open.
const ATTEMPTS: usize = 4;

/// Responds with a backup that contains every command which was acknowledged before the request.
pub(super) async fn backup(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let timeout = request::timeout(request.headers())?;
    let permit = Arc::clone(&app.backups)
        .try_acquire_owned()
        .map_err(|_| ApiError::overloaded("backups that are being sent"))?;
    let before = app.auditor.quarantine();
    let node_id = app.raft.status().node_id.as_str().to_owned();
    let operation = Operation::new(request.extensions(), "backup", node_id);
    let opening = async {
        let opened = tokio::time::timeout(timeout, open(&app, Instant::now() + timeout)).await;
        opened.map_err(|_| {
            ApiError::no_response(
                "the snapshot for the backup was not complete in time; repeat the request with a longer timeout",
            )
        })?
    };
    let writer = operations::recorded(&app, operation, opening).await?;
    if app.auditor.is_quarantined() || !app.auditor.has_served_since(before) {
        return Err(ApiError::quarantined());
    }
    Ok(respond(&app, writer, permit))
}

/// Takes a snapshot that is recent enough, and opens it.
async fn open(app: &App, deadline: Instant) -> Result<BackupWriter, ApiError> {
    if app.raft.status().cluster_level == 0 {
        return Err(ApiError::new(
            ErrorCode::LevelTooLow,
            format!("the cluster has level 0, and backups need level 1 of {CLUSTER_LEVEL}"),
            "raise it with `oarlock settings raise-level`",
        ));
    }
    // A linearizable read of any content: this node has then applied all that was acknowledged before.
    let left = deadline.saturating_duration_since(Instant::now());
    let reading = app
        .raft
        .query(Bytes::new().into(), Consistency::Linearizable, left);
    let (_, _) = reading.await.map_err(|error| ApiError::of_query(&error))?;
    let mut error = None;
    for _ in 0..ATTEMPTS {
        let meta = snapshot::take(app).await?;
        match open_snapshot(app, meta).await {
            Ok(writer) => return Ok(writer),
            // A newer snapshot may have replaced it.
            Err(failed) => error = Some(failed),
        }
    }
    let error = error.map_or_else(String::new, |error| error.to_string());
    Err(ApiError::internal(format!(
        "the snapshot of this node can't be read: {error}"
    )))
}

async fn open_snapshot(app: &App, meta: SnapshotMeta) -> io::Result<BackupWriter> {
    let manifest = manifest(app, &meta);
    let dir = app.data_dir.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let state = SnapshotFiles::to_read(&dir)
            .open(&meta)
            .map_err(io::Error::other)?;
        BackupWriter::new(&manifest, state)
    });
    opening.await.map_err(io::Error::other)?
}

fn manifest(app: &App, meta: &SnapshotMeta) -> Manifest {
    let machine = app.machine.get();
    Manifest {
        cluster_id: app.cluster_id(),
        lineage: meta.cluster.lineage.to_string(),
        level: meta.cluster.level,
        node_id: app.raft.status().node_id.as_str().to_owned(),
        term: meta.last.term.0,
        index: meta.last.index.0,
        time_ms: meta.time_ms,
        state_bytes: meta.length,
        members: meta.membership.as_ref().map(members).unwrap_or_default(),
        guest: machine.name,
        guest_version: machine.version,
        release: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn members(membership: &Membership) -> Vec<BackupMember> {
    let all = membership.members().iter();
    all.map(|(id, member)| BackupMember {
        node_id: id.as_str().to_owned(),
        peer_addr: member.address.clone(),
        votes: membership.is_voter(id),
    })
    .collect()
}

fn respond(app: &App, writer: BackupWriter, permit: OwnedSemaphorePermit) -> Response<Body> {
    let length = HeaderValue::from(writer.length());
    let (sender, body) = Channel::new(PIECES);
    tokio::spawn(send(writer, sender, permit, Arc::clone(&app.observations)));
    let mut response = Response::new(Body::new(body));
    response.extensions_mut().insert(Streaming);
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static("application/octet-stream");
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Sends the pieces at the speed of the client.
async fn send(
    mut writer: BackupWriter,
    mut sender: Sender<Bytes, io::Error>,
    permit: OwnedSemaphorePermit,
    observations: Arc<Observations>,
) {
    loop {
        let reading = tokio::task::spawn_blocking(move || {
            let piece = writer.next_piece();
            (writer, piece)
        });
        let piece = match reading.await {
            Ok((returned, piece)) => {
                writer = returned;
                piece
            }
            Err(error) => return sender.abort(io::Error::other(error)),
        };
        match piece {
            Ok(Some(piece)) => {
                if sender.send_data(piece).await.is_err() {
                    break;
                }
            }
            Ok(None) => {
                observations.note_backup();
                break;
            }
            Err(error) => {
                tracing::error!(%error, "a backup could not be read to its end: its connection is closed");
                return sender.abort(error);
            }
        }
    }
    drop(permit);
}
