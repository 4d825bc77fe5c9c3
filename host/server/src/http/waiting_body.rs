//! Bodies of responses that count as waiting until the client reads them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::connection_table::{ActiveRequest, ConnectionAccount, WaitingShare};

/// Largest chunk of a body, in bytes. A client that takes one makes progress.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// Marks a response whose body is in memory anyway, so that only the chunks on their way count.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedBody;

/// Bytes that count as waiting until they are dropped.
struct WaitingChunk {
    bytes: Bytes,
    _share: WaitingShare,
}

impl AsRef<[u8]> for WaitingChunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The same bytes, which keep the share until they are dropped.
pub(super) fn waiting(bytes: Bytes, share: WaitingShare) -> Bytes {
    Bytes::from_owner(WaitingChunk {
        bytes,
        _share: share,
    })
}

/// A body of known length. Its request counts as active until the body is sent.
pub(super) struct WaitingBody {
    body: Body,
    /// What was taken from `body` and not sent yet.
    rest: Bytes,
    share: WaitingShare,
    _active: ActiveRequest,
}

impl WaitingBody {
    /// `is_shared`: see [`SharedBody`].
    pub(super) fn new(
        body: Body,
        account: &Arc<ConnectionAccount>,
        active: ActiveRequest,
        is_shared: bool,
    ) -> Self {
        let mut share = WaitingShare::of(account);
        if !is_shared {
            share.add(body.size_hint().lower());
        }
        Self {
            body,
            rest: Bytes::new(),
            share,
            _active: active,
        }
    }
}

impl HttpBody for WaitingBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        while self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            let frame = match frame {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let length = self.rest.len().min(CHUNK_BYTES);
        let chunk = self.rest.split_to(length);
        let mut share = self.share.split(length as u64);
        let missing = length as u64 - share.bytes();
        share.add(missing);
        Poll::Ready(Some(Ok(Frame::data(waiting(chunk, share)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint.set_lower(rest + body.lower());
        hint
    }
}

#[cfg(test)]
mod tests;
