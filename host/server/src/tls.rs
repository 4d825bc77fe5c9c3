//! TLS between peers and to clients: certificates, who they belong to, and what a node trusts.
//!
//! | module | content |
//! |---|---|
//! | [`reload`] | reads the files again when they change, and on SIGHUP |
//! | [`clients`] | connections of clients |
//! | [`peers`] | connections between peers |
//! | [`handle`] | what a running node uses now, and how it is replaced |
//! | [`state`] | everything that a set of files allows, checked |
//! | [`verify`] | which certificates are accepted |
//! | [`issue`] | new authorities and certificates, for `oarlock cert` |
//! | [`files`] | the files of a directory of certificates |
//! | [`certificate`] | what a certificate contains |
//! | [`identity`] | who a certificate belongs to |
//!
//! Each module imports only from modules further down in this table.

pub(crate) mod certificate;
pub(crate) mod clients;
pub(crate) mod files;
pub(crate) mod handle;
pub(crate) mod identity;
pub(crate) mod issue;
pub(crate) mod peers;
pub(crate) mod reload;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

pub(crate) use handle::TlsHandle;
