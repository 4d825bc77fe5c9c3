//! A stream of events or log lines may last longer than the token with which it was requested. It ends with the token.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};

use super::app::App;
use super::authorize;
use crate::tls::TlsHandle;

/// The token of a request, if the node uses tokens.
pub(super) fn token(app: &App, headers: &HeaderMap) -> Option<String> {
    app.tls.as_ref()?;
    authorize::bearer(headers).ok()?.map(str::to_owned)
}

/// The body of a stream that was requested with this token, if with any.
pub(super) fn limited(app: &App, token: Option<String>, body: Body) -> Body {
    match (app.tls.clone(), token) {
        (Some(tls), Some(token)) => Body::new(TokenBody { body, tls, token }),
        _ => body,
    }
}

/// A body that ends once its token expires or is revoked. It notices with the next frame: a keep-alive at the latest.
struct TokenBody {
    body: Body,
    tls: TlsHandle,
    token: String,
}

impl HttpBody for TokenBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_some() && self.tls.current().check_token(&self.token).is_err() {
            tracing::info!("stream ended: its token has expired or was revoked");
            return Poll::Ready(None);
        }
        Poll::Ready(frame)
    }
}
