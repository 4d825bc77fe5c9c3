//! A client of an Oarlock cluster, over HTTP. It knows the public contract and nothing of the code behind it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use oarlock_client::{ApplyOptions, Client, Endpoint};
//!
//! let client = Client::new(Endpoint::parse_list("127.0.0.1:8101,127.0.0.1:8102")?)?;
//! let applied = client.apply(r#"{"add":{"by":5}}"#, &ApplyOptions::default()).await?;
//! println!("entry {}: {}", applied.index, String::from_utf8_lossy(&applied.reply));
//! # Ok(())
//! # }
//! ```
//!
//! # No command is applied twice
//! A request whose connection breaks after it was sent may or may not have been carried out. Sending it again blindly
//! could carry it out twice, so [`Client::apply`] gives each command an idempotency key of its own: nodes answer a key
//! that they have seen with the first answer. With [`Key::None`] a command is sent again only while it is certain
//! that no node took it, and else the error says that the outcome is unknown.
//!
//! # Many at once
//! A [`Client`] is cheap to clone and takes any number of requests at the same time; connections are kept and shared.
//! Over [`Protocol::Http2`] all requests to a node travel on one connection.

// A panic ends the process of the caller; return an error, or write in `unreachable!` why it cannot happen.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod client;
mod endpoint;
mod error;
#[cfg(feature = "load")]
pub mod load;
mod options;
mod retry;
mod status;
mod transport;

pub use client::{
    ApplyResponse, Client, EndedUpgrade, LeadershipMoved, MembersChanged, QueryResponse,
    UpgradeDone, UpgradeHistory, UpgradeNodeProgress, UpgradeOptions, UpgradeProgress,
};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ApplyError, ClientConfigError, QueryError, RequestError};
pub use options::{
    ApplyOptions, ClientOptions, Key, KeyError, MAX_KEY_BYTES, Protocol, QueryOptions,
    ReadConsistency,
};
pub use status::{MemberInfo, ModuleInfo, NodeInfo, NodeRole};
