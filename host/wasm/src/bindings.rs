//! Types and calls of the WIT package, made by `wasmtime` from `wit/`.
//!
//! Exports are called through these; imports are linked by hand in [`host`](crate::host), because a generated import
//! gets no access to the store and so could not be charged fuel.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    unused_qualifications,
    reason = "generated, and used in part"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "service",
    with: {
        "oarlock:state-machine/streams.sink": crate::host::Sink,
        "oarlock:state-machine/streams.source": crate::host::Source,
    },
});
