//! The commands that send requests to a cluster or read a file. Each has a module.
//!
//! A command builds its whole output, then writes it. A closed standard output is not an error.

mod apply;
mod audit;
mod build;
mod cert;
mod check;
mod check_module;
mod client;
mod connect;
mod events;
mod input;
mod logs;
mod members;
mod new;
mod operations;
mod output;
mod query;
mod queue;
mod recover;
mod settings;
mod sign_module;
mod snapshot;
mod status;
mod table;
mod test;
mod time;
mod token;
mod upgrade;

pub(crate) use apply::apply;
pub(crate) use audit::audit;
pub(crate) use build::build;
pub(crate) use cert::cert;
pub(crate) use check::check;
pub(crate) use check_module::check_module;
pub(crate) use client::client;
pub(crate) use connect::{connect, refused, tls as client_tls, token as client_token};
pub(crate) use events::events;
pub(crate) use logs::logs;
pub(crate) use members::{members, transfer_leader};
pub(crate) use new::new;
pub(crate) use operations::operations;
pub(crate) use output::{Output, OutputClosed, endpoint_list, print_safely, write_out};
pub(crate) use query::query;
pub(crate) use queue::queue;
pub(crate) use recover::recover;
pub(crate) use settings::settings;
pub(crate) use sign_module::sign_module;
pub(crate) use snapshot::snapshot;
pub(crate) use status::{as_text, gather, status};
pub(crate) use table::{Align, Table, Tone};
pub(crate) use test::test;
pub(crate) use token::token;
pub(crate) use upgrade::upgrade;
