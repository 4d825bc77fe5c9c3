//! A token that a node has accepted, for requests that last.

use std::sync::Arc;

use time::OffsetDateTime;

use super::handle::TlsHandle;
use super::state::TlsState;
use crate::access::TokenClaims;

/// A token that a node has accepted.
pub(crate) struct AcceptedToken {
    tls: TlsHandle,
    token: String,
    /// The files by which it was accepted.
    by: Arc<TlsState>,
    /// In seconds since 1970.
    expires: i64,
}

impl AcceptedToken {
    /// `None`: the token is not accepted.
    pub(crate) fn new(tls: TlsHandle, token: &str) -> Option<Self> {
        let by = tls.current();
        by.check_token(token).ok()?;
        let expires = TokenClaims::unchecked(token).ok()?.expires;
        Some(Self {
            tls,
            token: token.to_owned(),
            by,
            expires,
        })
    }

    /// Whether the token would be accepted now. Its signature is verified only after the files have changed.
    pub(crate) fn is_still_accepted(&mut self) -> bool {
        let current = self.tls.current();
        if !Arc::ptr_eq(&current, &self.by) {
            if current.check_token(&self.token).is_err() {
                return false;
            }
            self.by = current;
        }
        OffsetDateTime::now_utc().unix_timestamp() < self.expires
    }
}
