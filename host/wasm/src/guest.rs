//! One guest: its module and its instances. Nothing here depends on the log or on other nodes.

pub(crate) mod bindings;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod compiled;
pub(crate) mod effects;
pub(crate) mod encoder;
pub(crate) mod engine;
pub(crate) mod error_lines;
pub(crate) mod failure;
pub(crate) mod guest_log;
pub(crate) mod host;
pub(crate) mod instance;
pub(crate) mod instrument;
pub(crate) mod limiter;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod loaded;
pub(crate) mod long_query;
pub(crate) mod metering;
pub(crate) mod module;
pub(crate) mod module_check;
pub(crate) mod random;
pub(crate) mod rules;
pub(crate) mod semantics;
pub(crate) mod streams;
pub(crate) mod wasi;
