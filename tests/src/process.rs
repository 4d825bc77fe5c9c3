//! Real `oarlock` processes: started, killed and asked over HTTP as a user would.

mod binary;
mod cluster;
mod http;
mod module;
mod node;
mod places;
mod proxy;
mod recorder;

pub use binary::{built_guest, guest, oarlock, run, run_in};
pub use cluster::{Cluster, apply_somewhere, eventually, free_ports};
pub use http::{Answer, Http, Unanswered};
pub use module::{TARGET, builds_modules, noted, text};
pub use node::{Node, NodeOptions, QUICK};
pub use places::{Mount, NetNamespaces, Unavailable};
pub use proxy::Wires;
pub use recorder::Recorder;
