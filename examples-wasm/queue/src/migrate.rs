//! States of version 1.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use oarlock_guest::{JsonText, MigrateError, OldState};
use serde::Deserialize;

use crate::messages::Failure;
use crate::payload::Payload;
use crate::policy::Policy;
use crate::queue::Queue;
use crate::state::Queues;
use crate::task::{Delivery, Extra, Place, Task};

/// How long version 1 kept a deduplication key after its task was acknowledged.
const WINDOW_MS: u64 = 60 * 60 * 1000;

/// The state of version 1. Fields that version 2 computes again are read and dropped. Names of fields are those of version 1:
/// they count in the layout, which is compared.
#[derive(Deserialize)]
struct QueuesV1 {
    last_id: u64,
    tasks: BTreeMap<u64, TaskV1>,
    lanes: Vec<LaneV1>,
    #[serde(rename = "names")]
    _names: BTreeMap<String, u32>,
    dedupe: DedupeV1,
    #[serde(rename = "alarms")]
    _alarms: BTreeSet<(u64, u32)>,
    #[serde(rename = "requested_wake_ms")]
    _requested_wake_ms: u64,
}

#[derive(Deserialize)]
struct TaskV1 {
    lane: u32,
    priority: i64,
    attempt: u32,
    max_attempts: u32,
    place: PlaceV1,
    delivery: Option<DeliveryV1>,
    dedupe_key: Option<String>,
    errors: VecDeque<String>,
    payload: JsonText,
}

#[derive(Deserialize)]
enum PlaceV1 {
    Ready,
    Delayed(u64),
    Leased(u64),
    Dead,
}

#[derive(Deserialize)]
struct DeliveryV1 {
    nonce: u64,
    worker: String,
}

#[derive(Deserialize)]
struct LaneV1 {
    name: String,
    #[serde(rename = "ready")]
    _ready: BTreeSet<(i64, u64)>,
    #[serde(rename = "timers")]
    _timers: BTreeSet<(u64, u64)>,
    #[serde(rename = "dead")]
    _dead: BTreeSet<u64>,
    #[serde(rename = "delayed")]
    _delayed: u64,
    #[serde(rename = "leased")]
    _leased: u64,
    completed: u64,
}

#[derive(Deserialize)]
struct DedupeV1 {
    known: BTreeMap<(u32, String), KeyedTaskV1>,
    #[serde(rename = "spent")]
    _spent: BTreeMap<(u64, u64), (u32, String)>,
}

#[derive(Deserialize)]
struct KeyedTaskV1 {
    id: u64,
    spent_ms: Option<u64>,
}

/// Converts a state of version 1. Tokens, leases and keys stay as they are.
pub(crate) fn from_version_1<P: Policy>(old: OldState<'_>) -> Result<Queues<P>, MigrateError> {
    let old: QueuesV1 = old.decode()?;
    let mut queues = Queues::default();
    queues.last_id = old.last_id;
    for lane in old.lanes {
        let number = queues.open(&lane.name);
        let queue: &mut Queue = queues.queue_mut(number);
        queue.numbers.completed = lane.completed;
    }
    for ((lane, key), task) in old.dedupe.known {
        let until_ms = task
            .spent_ms
            .map(|spent_ms| spent_ms.saturating_add(WINDOW_MS));
        queues.dedupe.migrate(lane, key, task.id, until_ms);
    }
    for (id, task) in old.tasks {
        let delivery = task.delivery.map(|delivery| Delivery {
            nonce: delivery.nonce,
            worker: queues.workers.see(&delivery.worker, 0),
            extended: 0,
            since_ms: 0,
        });
        let failures: VecDeque<Failure> = task.errors.into_iter().map(failure).collect();
        let has_extra = task.dedupe_key.is_some() || !failures.is_empty();
        let extra = Extra {
            dedupe_key: task.dedupe_key.map(Into::into),
            failures,
            ..Extra::default()
        };
        let place = match task.place {
            PlaceV1::Ready => Place::Ready,
            PlaceV1::Delayed(until_ms) => Place::Delayed(until_ms),
            PlaceV1::Leased(until_ms) => Place::Leased(until_ms),
            PlaceV1::Dead => Place::Dead,
        };
        let migrated = Task {
            queue: task.lane,
            key: 0,
            priority: task.priority,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            place: place.into(),
            enqueued_ms: 0,
            delivery: None,
            payload: Payload::Json(task.payload),
            extra: has_extra.then(|| Box::new(extra)),
        };
        queues.tasks.insert(id, migrated);
        queues.set_delivery(id, delivery);
        queues.index(id);
    }
    queues.set_alarms();
    Ok(queues)
}

/// An error of version 1, which knew neither attempt, time nor worker.
fn failure(error: String) -> Failure {
    Failure {
        attempt: 0,
        at_ms: 0,
        worker: String::new(),
        error,
    }
}
