//! Who sends a request, and what it may do.
//!
//! | module | content |
//! |---|---|
//! | [`token`] | tokens, by which clients without a certificate prove who they are |
//! | [`caller`] | who sends a request |
//! | [`role`] | what it may do |

mod caller;
mod role;
mod token;

pub(crate) use caller::{AccessDenied, Caller, Principal};
pub(crate) use role::{AccessRole, RoleSet};
pub(crate) use token::{TokenClaims, TokenError, TokenKeyError, TokenKeys, TokenSigner};
