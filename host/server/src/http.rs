//! The HTTP API of a node, over HTTP/1.1 and HTTP/2.
//!
//! | module | what it does |
//! |---|---|
//! | [`serve`] | accepts connections, limits their number and idle time, shuts them down |
//! | [`express`] | fast path: small commands and queries over HTTP/1.1, without hyper |
//! | [`routes`] | the table of routes, from which the router and the documentation are made |
//! | [`token_stream`] | ends a stream with the token of its request |
//! | [`authorize`] | who may send a request |
//! | [`openapi`] | the OpenAPI document of the table |
//! | [`reference`] | what the table has of each route |
//! | [`apply`], [`query`] | commands and queries |
//! | [`audit`] | the comparison of the nodes' states |
//! | [`schema`] | the schema of the guest's messages |
//! | [`settings`] | the replicated settings of the cluster |
//! | [`members`], [`member_address`] | membership changes and leadership transfer; addresses of new members |
//! | [`logs`] | the log of the node, as server-sent events |
//! | [`events`] | events of the guest, as server-sent events |
//! | [`event_stream`] | sends frames to one client at its speed, as server-sent events |
//! | [`stream_body`] | the body of such a stream |
//! | [`upgrade`] | the active module, upgrades and their history |
//! | [`entries`] | committed entries as a stream, for an archive |
//! | [`backup`] | the state of the cluster as one file |
//! | [`status`], [`snapshot`], [`health`], [`metrics`], [`dashboard`] | the node itself |
//! | [`doctor`] | the facts of the node, and what is wrong with it |
//! | [`operations`] | what operators do: recorded in the log, and shown |
//! | [`guard`] | refuses what a web page makes a browser send: host, origin, content type |
//! | [`client_socket`] | the socket of a client |
//! | [`request`] | validates headers, reads bodies |
//! | [`query_string`] | the query string of queries |
//! | [`reply`] | the guest's replies as HTTP responses |
//! | [`app`] | the state that handlers share |
//! | [`stream_turns`] | the turns in which streams are sent |
//! | [`waiting_body`] | bodies that count as waiting until the client reads them |
//! | [`query_gate`] | which query is next: shares the threads for queries between clients |
//! | [`connection_table`] | what waits for each client, and which connections are closed when that is too much |
//! | [`body_budget`] | limits the memory for request bodies |
//! | [`error`] | errors of the host as JSON |
//! | [`error_code`] | the table of their codes |
//!
//! Each module imports only from modules further down in this table.

mod app;
mod apply;
mod audit;
mod authorize;
mod backup;
mod body_budget;
mod client_socket;
mod connection_table;
mod dashboard;
mod doctor;
mod entries;
mod error;
mod error_code;
mod event_stream;
mod events;
mod express;
mod guard;
mod health;
mod logs;
mod member_address;
mod members;
mod metrics;
mod openapi;
mod operations;
mod query;
mod query_gate;
mod query_string;
mod reference;
mod reply;
mod request;
mod routes;
mod schema;
mod serve;
mod settings;
mod snapshot;
mod status;
mod stream_body;
mod stream_turns;
#[cfg(test)]
mod tests;
mod token_stream;
mod upgrade;
mod waiting_body;

pub(crate) use app::App;
pub(crate) use body_budget::BodyBudget;
pub(crate) use connection_table::ConnectionTable;
pub(crate) use doctor::note_counters;
pub(crate) use query_gate::QueryGate;
pub(crate) use serve::Server;
pub(crate) use stream_turns::StreamTurns;
