//! A client of an Oarlock cluster over HTTP. It depends on the public HTTP API only, on no other crate of Oarlock.
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
//! If a connection breaks after a request was sent, the client cannot know whether the command was applied. A blind
//! retry could apply it twice. [`Client::apply`] therefore gives each command its own idempotency key: a cluster that
//! has seen a key returns the first response again. With [`Key::None`] the client retries only while it is certain that
//! no node accepted the command. After that it returns [`ApplyError::OutcomeUnknown`].
//!
//! # The task queue
//! [`queue::Queue`] has the commands of the built-in task queue, and [`worker::Worker`] runs a handler for its tasks.
//!
//! # Concurrent requests
//! A [`Client`] is cheap to clone and sends any number of requests concurrently. Clones share a pool of connections.
//! With [`Protocol::Http2`] all requests to a node share one connection.

// A panic ends the process of the caller; return an error, or write in `unreachable!` why it cannot happen.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

mod audit;
mod client;
#[cfg(feature = "cron")]
pub mod cron;
mod endpoint;
mod error;
mod event_lines;
#[cfg(feature = "load")]
pub mod load;
mod operations;
mod options;
mod pause;
pub mod queue;
mod retry;
mod settings;
mod status;
mod tls;
mod transport;
mod upgrade;
pub mod worker;

pub use audit::AuditInfo;
pub use client::Client;
pub use client::backup::BackupDownload;
pub use client::entries::{EntryFrame, EntryStream, EntryStreamHead};
pub use client::events::{EventOptions, EventStream};
pub use client::logs::{LogItem, LogLineInfo, LogOptions, LogPage, LogStream};
pub use client::response::{ApplyResponse, QueryResponse};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ApplyError, ClientConfigError, QueryError, RequestError};
pub use event_lines::ReceivedEvent;
pub use operations::{OperationEntry, OperationHistory, OperationResult};
pub use options::{
    ApplyOptions, ClientOptions, Key, KeyError, MAX_KEY_BYTES, Protocol, QueryOptions,
    ReadConsistency,
};
pub use settings::{ClusterSettings, DifferingSetting};
pub use status::{LeadershipMoved, MemberInfo, MembersChanged, ModuleInfo, NodeInfo, NodeRole};
pub use tls::{AccessToken, TlsError, TlsOptions};
pub use upgrade::{
    EndedUpgrade, FirstModuleInfo, UpgradeDone, UpgradeHistory, UpgradeNodeProgress,
    UpgradeOptions, UpgradeProgress,
};
