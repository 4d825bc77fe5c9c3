//! The socket of a client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection_table::ConnectionAccount;

/// Bytes that the operating system takes from this process for a client that does not read, besides those that the client's own
/// system has taken.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: libc::c_int = 128 << 10;

/// A connection that ends without a delay if the node closes it because its client does not read.
#[derive(Debug)]
pub(super) struct ClientSocket {
    stream: TcpStream,
    account: Arc<ConnectionAccount>,
}

impl ClientSocket {
    pub(super) fn new(stream: TcpStream, account: &Arc<ConnectionAccount>) -> Self {
        // A response is usually one small packet; Nagle's algorithm would delay it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY on a client connection");
        }
        if let Err(error) = limit_unsent(&stream) {
            tracing::debug!(%error, "cannot limit the unsent bytes of a client connection");
        }
        Self {
            stream,
            account: Arc::clone(account),
        }
    }
}

/// Limits what the operating system buffers for a client that does not read.
#[cfg(target_os = "linux")]
fn limit_unsent(stream: &TcpStream) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let bytes = UNSENT_BYTES;
    #[allow(
        unsafe_code,
        reason = "the standard library has no access to this option of a socket"
    )]
    // SAFETY: the descriptor is open while `stream` is borrowed, and the pointer is to a local value of the given size.
    let failed = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Other systems have their own limit.
#[cfg(not(target_os = "linux"))]
fn limit_unsent(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        if self.account.is_reset()
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot reset a client connection");
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
