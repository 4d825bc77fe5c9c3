//! Real `oarlock` processes: started, killed, and used over HTTP.

mod before;
mod binary;
pub mod checkers;
mod cluster;
pub mod forged;
pub mod kv;
pub mod listeners;
pub mod locks;
mod module;
mod node;
mod places;
mod proxy;
mod raw_load;
mod recorder;
mod secured;
mod steps;
mod wall_clocks;

pub use crate::http::connection::HttpResponse;
pub use crate::http::{Http, NoResponse};
pub use before::{file_before, lacks_history, release_before};
pub use binary::{guest, oarlock, run, run_in};
pub use cluster::{BOOTSTRAP, Cluster, apply_somewhere, eventually, free_ports};
pub use module::{TARGET, compile, compile_file, compiled_dir, noted, require_wasm_target, text};
pub use node::{Node, NodeOptions, QUICK};
pub use places::{Mount, NetNamespaces, Unavailable};
pub use proxy::Wires;
pub use raw_load::{RawIdentity, RawLoad};
pub use recorder::Recorder;
pub use secured::{SecuredCluster, cert, fail, succeed};
pub use steps::Steps;
pub use wall_clocks::WallClocks;
