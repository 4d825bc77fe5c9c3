//! The tests that look at the whole of Oarlock: simulation, clusters of real processes, the tree itself.

pub mod http;
pub mod identity;
pub mod model;
pub mod process;
pub mod script;
pub mod sim;
