//! Long queries: calls that are suspended from time to time to look whether their client still waits.
//!
//! Most queries are short, and a call that can't be suspended is cheaper. So a query first runs as such, with a small part
//! of its fuel. One that needs more runs again from the beginning, on an instance of its own, on a stack of its own.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use task_queue_raft::state_machine::ClientWatch;
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use crate::guest::bindings::oarlock::state_machine::types::Moment;
use crate::guest::host::HostState;

/// Fuel that a short query uses at most: some hundredths of a second.
pub(crate) const FUEL_OF_SHORT_QUERY: u64 = 50_000_000;
/// Fuel between two looks: some milliseconds.
const FUEL_PER_LOOK: u64 = 10_000_000;

/// The function `query` of an instance.
pub(crate) type QueryFunction = TypedFunc<(Moment, Vec<u8>), (Result<Vec<u8>, Vec<u8>>,)>;

/// Calls `function` until it returns, or its client has gone (`None`). After that, all calls of the store must be suspendable.
pub(crate) fn run(
    function: &QueryFunction,
    store: &mut Store<HostState>,
    (at, request): (Moment, &[u8]),
    client: &ClientWatch,
) -> wasmtime::Result<Option<Result<Vec<u8>, Vec<u8>>>> {
    store.fuel_async_yield_interval(Some(FUEL_PER_LOOK))?;
    let mut call = pin!(function.call_async(store, (at, request.to_vec())));
    // A suspended call is ready to go on at once, so nothing has to be woken.
    let mut context = Context::from_waker(Waker::noop());
    while !client.has_gone() {
        if let Poll::Ready(returned) = call.as_mut().poll(&mut context) {
            return Ok(Some(returned?.0));
        }
    }
    Ok(None)
}
