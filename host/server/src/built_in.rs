//! The task queues in this binary.

use bytes::Bytes;
use oarlock_wasm::Sha256;

/// The task queue in this binary.
const BUILT_IN_QUEUE: &[u8] = include_bytes!("../../../examples-wasm/dist/queue.wasm");

/// The task queues of earlier releases. A log that began with one of them is executed with it.
const EARLIER_QUEUES: [&[u8]; 3] = [
    include_bytes!("../modules/queue-209994da.wasm"),
    include_bytes!("../modules/queue-c09bd7b2.wasm"),
    include_bytes!("../modules/queue-f678ce10.wasm"),
];

/// The bytes of a task queue of this or an earlier release.
pub(crate) fn find(sha256: Sha256) -> Option<Bytes> {
    let mut queues = [BUILT_IN_QUEUE].into_iter().chain(EARLIER_QUEUES);
    let found = queues.find(|queue| Sha256::of(queue) == sha256)?;
    Some(Bytes::from_static(found))
}

/// Digest of the task queue of this release.
pub(crate) fn digest() -> Sha256 {
    Sha256::of(BUILT_IN_QUEUE)
}

/// The task queue of this release.
pub(crate) fn queue() -> &'static [u8] {
    BUILT_IN_QUEUE
}
