//! The resources `sink` and `source` of the WIT: the host's end of a snapshot that a guest writes or reads.
//!
//! A call has at most one snapshot, which [`GuestCall`](super::call::GuestCall) holds, so these types have no content.

/// The snapshot that is being written.
#[allow(
    unreachable_pub,
    reason = "the generated bindings export it again, within this crate"
)]
pub struct Sink;

/// The snapshot that is being read.
#[allow(
    unreachable_pub,
    reason = "the generated bindings export it again, within this crate"
)]
pub struct Source;
