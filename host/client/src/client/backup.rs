//! Downloads a backup.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::Client;
use super::events::open_somewhere;
use crate::endpoint::Endpoint;
use crate::error::RequestError;

/// Longest time without a byte of the backup.
const SILENCE: Duration = Duration::from_secs(30);

/// A backup that is being received.
#[derive(Debug)]
pub struct BackupDownload {
    endpoint: Endpoint,
    body: Incoming,
    length: u64,
}

impl Client {
    /// Requests a backup from one node after the other, until one begins to send it. It contains all that was acknowledged before.
    ///
    /// # Errors
    /// No node has begun to send one within the timeout of the client, or a node refused.
    pub async fn backup(&self) -> Result<BackupDownload, RequestError> {
        let (endpoint, response) = open_somewhere(&self.shared, "/v1/backup", None, 0).await?;
        let body = response.into_body();
        Ok(BackupDownload {
            endpoint,
            length: body.size_hint().exact().unwrap_or_default(),
            body,
        })
    }
}

impl BackupDownload {
    /// The node that sends it.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Length of the whole backup in bytes; 0: unknown.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or nothing arrives for 30 seconds. What has arrived is not a backup then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        loop {
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
                return Ok(Some(data));
            }
        }
    }
}
