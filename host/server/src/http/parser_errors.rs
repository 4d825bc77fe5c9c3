//! Gives the errors of hyper's parser the JSON body of all other errors.
//!
//! hyper responds to a request that it can't parse by itself, without a body, and then closes the connection. No handler learns of
//! it, so this stream looks at what hyper writes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection_table::ConnectionAccount;
use super::error::ApiError;

/// A connection on the way from hyper.
#[derive(Debug)]
pub(super) struct ParserErrors<S> {
    stream: S,
    account: Arc<ConnectionAccount>,
    /// What is written instead of hyper's own response.
    instead: Bytes,
}

impl<S> ParserErrors<S> {
    pub(super) fn new(stream: S, account: &Arc<ConnectionAccount>) -> Self {
        Self {
            stream,
            account: Arc::clone(account),
            instead: Bytes::new(),
        }
    }

    /// Replaces a response of hyper's own. All others belong to a request, or have a body that waits to be sent.
    fn replace(&mut self, written: &[u8]) -> bool {
        let is_own = self.account.is_idle() && self.account.is_empty();
        if let Some(error) = parser_error(written).filter(|_| is_own) {
            self.instead = response(&error);
        }
        !self.instead.is_empty()
    }
}

/// The error of which hyper has written the response, if it is one without a body.
fn parser_error(written: &[u8]) -> Option<ApiError> {
    let head = std::str::from_utf8(written)
        .ok()?
        .strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?;
    if !lines.any(|line| line.eq_ignore_ascii_case("content-length: 0")) {
        return None;
    }
    match status {
        "400" => Some(ApiError::malformed(
            "the request is not valid HTTP/1.1; nothing was applied",
            "check the request line and the headers that your client or proxy sends",
        )),
        "431" => Some(ApiError::headers_too_large()),
        _ => None,
    }
}

fn response(error: &ApiError) -> Bytes {
    let (status, body) = (error.status(), error.json());
    let reason = status.canonical_reason().unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\ndate: {}\r\n\r\n",
        status.as_u16(),
        body.len(),
        httpdate::fmt_http_date(std::time::SystemTime::now())
    );
    [head.into_bytes(), body].concat().into()
}

impl<S: AsyncWrite + Unpin> ParserErrors<S> {
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write(context, &self.instead))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ParserErrors<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ParserErrors<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(context))?;
        if self.replace(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_instead(context))?;
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && self.replace(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    /// So that hyper keeps each chunk of a body, and its share, until the chunk is written.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
