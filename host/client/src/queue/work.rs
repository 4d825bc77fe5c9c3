//! What workers send and receive.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::payload::{self, TaskPayload};

/// A request for tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveOptions {
    /// Name of the worker. It appears in the errors of leases that expire.
    pub worker: String,
    /// More queues than the one of the handle.
    pub also: Vec<String>,
    /// Length of the lease.
    pub lease: Duration,
    /// Most tasks, 1 to 1,000.
    pub max: u32,
    /// How long to wait for a task if there is none, at most 60 s. The cluster responds when there is one.
    pub wait: Duration,
}

impl ReserveOptions {
    /// One task with a lease of 30 seconds, without a wait.
    pub fn new(worker: impl Into<String>) -> Self {
        Self {
            worker: worker.into(),
            also: Vec::new(),
            lease: Duration::from_secs(30),
            max: 1,
            wait: Duration::ZERO,
        }
    }
}

/// A task that is delivered to a worker.
#[derive(Clone, Debug)]
pub struct ReservedTask {
    /// Id of the task.
    pub id: u64,
    /// Name of its queue.
    pub queue: String,
    /// Its content.
    pub payload: TaskPayload,
    /// Number of this delivery, from 1.
    pub attempt: u32,
    /// Identifies the delivery. It is valid until the task is acknowledged, returned or delivered again.
    pub token: String,
    /// When the lease expires: replicated time, in milliseconds since 1970-01-01 UTC.
    pub lease_until_ms: u64,
    /// Media type of the content.
    pub content_type: Option<String>,
    /// Texts of the producer, by name.
    pub attributes: BTreeMap<String, String>,
    /// Its fairness key.
    pub fairness_key: Option<String>,
    /// Its ordering key.
    pub ordering_key: Option<String>,
}

/// The same, with the fields of the message.
#[derive(Deserialize)]
struct ReservedFields {
    id: u64,
    queue: String,
    #[serde(default, deserialize_with = "payload::given")]
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    payload_base64: Option<String>,
    attempt: u32,
    token: String,
    lease_until_ms: u64,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    fairness_key: Option<String>,
    #[serde(default)]
    ordering_key: Option<String>,
}

impl<'de> Deserialize<'de> for ReservedTask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = ReservedFields::deserialize(deserializer)?;
        Ok(Self {
            id: fields.id,
            queue: fields.queue,
            payload: payload::from_fields(fields.payload, fields.payload_base64)?,
            attempt: fields.attempt,
            token: fields.token,
            lease_until_ms: fields.lease_until_ms,
            content_type: fields.content_type,
            attributes: fields.attributes,
            fairness_key: fields.fairness_key,
            ordering_key: fields.ordering_key,
        })
    }
}

/// The reply to `reserve`.
#[derive(Debug, Deserialize)]
pub(super) struct ReserveReply {
    pub(super) tasks: Vec<ReservedTask>,
}

/// Arguments of `reserve`.
#[derive(Debug, Serialize)]
pub(super) struct ReserveCommand<'a> {
    queues: Vec<&'a str>,
    worker: &'a str,
    lease_ms: u64,
    max: u32,
    wait_ms: u64,
}

impl<'a> ReserveCommand<'a> {
    pub(super) fn new(queue: &'a str, options: &'a ReserveOptions) -> Self {
        let also = options.also.iter().map(String::as_str);
        Self {
            queues: std::iter::once(queue).chain(also).collect(),
            worker: &options.worker,
            lease_ms: millis(options.lease),
            max: options.max,
            wait_ms: millis(options.wait),
        }
    }
}

/// How an attempt failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NackOptions {
    /// The reason. It is added to the errors of the task.
    pub error: Option<String>,
    /// Delay until the next attempt. Default: that of the retry policy.
    pub delay: Option<Duration>,
    /// Whether the task is dead, whatever attempts are left.
    pub dead: bool,
}

/// A command about a delivery.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeliveryCommand<'a> {
    Ack {
        id: u64,
        token: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
    },
    Nack {
        id: u64,
        token: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        delay_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        dead: bool,
    },
    Extend {
        id: u64,
        token: &'a str,
        lease_ms: u64,
    },
    Release {
        id: u64,
        token: &'a str,
    },
}

impl<'a> DeliveryCommand<'a> {
    pub(super) fn ack(task: &'a ReservedTask, result: Option<&'a RawValue>) -> Self {
        Self::Ack {
            id: task.id,
            token: &task.token,
            result,
        }
    }

    pub(super) fn nack(task: &'a ReservedTask, options: &'a NackOptions) -> Self {
        Self::Nack {
            id: task.id,
            token: &task.token,
            delay_ms: options.delay.map(millis),
            error: options.error.as_deref(),
            dead: options.dead,
        }
    }

    pub(super) fn extend(task: &'a ReservedTask, lease: Duration) -> Self {
        Self::Extend {
            id: task.id,
            token: &task.token,
            lease_ms: millis(lease),
        }
    }

    pub(super) fn release(task: &'a ReservedTask) -> Self {
        Self::Release {
            id: task.id,
            token: &task.token,
        }
    }
}

/// The reply to `extend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ExtendedLease {
    /// When the lease expires: replicated time, in milliseconds since 1970-01-01 UTC.
    pub lease_until_ms: u64,
    /// Whether the task was cancelled: stop the work, then send `nack`.
    #[serde(default)]
    pub cancelled: bool,
}

/// A time in whole milliseconds, at least 1 unless it is zero.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}
