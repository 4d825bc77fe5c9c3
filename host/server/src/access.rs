//! Who sends a request, and what it may do.
//!
//! | module | content |
//! |---|---|
//! | [`token_cache`] | tokens that were accepted |
//! | [`token`] | tokens, by which clients without a certificate prove who they are |
//! | [`caller`] | who sends a request |
//! | [`role`] | what it may do |
//! | [`scope`] | scopes of a token on the command line |
//! | [`client_name`] | names of clients |

mod caller;
mod client_name;
mod role;
mod scope;
mod token;
mod token_cache;

pub(crate) use caller::{AccessDenied, Principal, Requester};
pub(crate) use client_name::ClientName;
pub(crate) use role::{AccessRole, RoleSet};
pub(crate) use scope::ScopeFlag;
pub(crate) use token::{TokenClaims, TokenError, TokenKeyError, TokenKeys, TokenSigner};
pub(crate) use token_cache::TokenCache;
