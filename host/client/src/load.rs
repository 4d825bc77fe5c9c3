//! A load generator: sessions that send their next request after the response to an earlier one, with measurements.
//!
//! `oarlock bench` and the project's own benchmarks use it. It needs the feature `load`.
//!
//! | module | content |
//! |---|---|
//! | [`generator`] | runs sessions for a while and counts what they complete |
//! | [`node`] | a session with the nodes of a cluster |
//! | [`tally`] | the counts |
//! | [`latencies`] | times as percentiles |

pub mod generator;
pub mod latencies;
pub mod node;
pub mod tally;
