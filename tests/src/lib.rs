//! Shared parts of the tests of the whole system: simulation, model, scenario scripts, clusters of real processes.
//!
//! Tests in `tests/` belong to `cargo test --workspace`. Those in `long/` take minutes, and `.ci/run` runs them.

pub mod docs;
pub mod fuzz;
pub mod http;
pub mod identity;
pub mod model;
pub mod process;
pub mod queue_sim;
pub mod script;
pub mod sim;
