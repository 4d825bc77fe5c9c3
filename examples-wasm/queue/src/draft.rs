//! A task that is to be added: the checked arguments of an `enqueue`.

use oarlock_guest::Refusal;
use serde::{Deserialize, Serialize};

use crate::limits::{
    MAX_AFTER, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES, MAX_DELAY_MS, MAX_NAME_BYTES, MAX_WEIGHT,
};
use crate::messages::{Enqueue, Keep};
use crate::payload::Payload;
use crate::refuse::{check_name, check_range, out_of_range};
use crate::retry::Retry;

/// A task that is to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    /// Name of the queue.
    pub queue: Box<str>,
    /// Content.
    pub payload: Payload,
    /// Media type of the content.
    pub content_type: Option<Box<str>>,
    /// Texts for workers: names and values, in the order of the names.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// Smaller values are delivered first.
    pub priority: i64,
    /// Delay until it is ready, in milliseconds.
    pub delay_ms: u64,
    /// Deliveries until it is dead; nothing for the queue's setting.
    pub max_attempts: Option<u32>,
    /// Delay after a failed attempt; nothing for the queue's setting.
    pub retry: Option<Retry>,
    /// Longest time until its first delivery, in milliseconds; nothing for the queue's setting.
    pub ttl_ms: Option<u64>,
    /// Deduplication.
    pub dedupe: Option<DedupeRule>,
    /// Whose share of the deliveries it takes.
    pub fairness_key: Option<Box<str>>,
    /// Share of the fairness key.
    pub weight: Option<u32>,
    /// Tasks with the same key are delivered one at a time.
    pub ordering_key: Option<Box<str>>,
    /// Group that it belongs to.
    pub group: Option<Box<str>>,
    /// Ids of tasks that must be done before.
    pub after: Vec<u64>,
}

/// Deduplication of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupeRule {
    /// The key.
    pub key: Box<str>,
    /// How long it holds from the enqueue, in milliseconds; nothing for the life of the task and an hour more.
    pub window_ms: Option<u64>,
    /// Which of two tasks is kept.
    pub keep: Keep,
}

impl NewTask {
    /// The arguments of an `enqueue`, without a check of their ranges. `ids` are the ids of the tasks that the same batch has added so far, by their
    /// position; `after_batch` refers to it.
    pub(crate) fn new(from: Enqueue, ids: &[Option<u64>]) -> Result<Self, Refusal> {
        let mut after = from.after;
        for position in &from.after_batch {
            let id = ids.get(*position as usize).copied().flatten();
            after.push(id.ok_or_else(|| not_in_batch(*position))?);
        }
        after.sort_unstable();
        after.dedup();
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        let dedupe = from.dedupe_key.map(|key| DedupeRule {
            key: key.into(),
            window_ms: from.dedupe_window_ms,
            keep: from.dedupe_keep,
        });
        Ok(Self {
            queue: from.queue.into(),
            payload: Payload::from_fields(from.payload, from.payload_base64.as_deref())?,
            content_type: boxed(from.content_type),
            attributes: from
                .attributes
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            priority: from.priority,
            delay_ms: from.delay_ms,
            max_attempts: from.max_attempts,
            retry: from.retry,
            ttl_ms: from.ttl_ms,
            dedupe,
            fairness_key: boxed(from.fairness_key),
            weight: from.weight,
            ordering_key: boxed(from.ordering_key),
            group: boxed(from.group),
            after,
        })
    }

    /// A task with a queue and content, all else as by default.
    pub fn plain(queue: &str, payload: Payload) -> Self {
        Self {
            queue: queue.into(),
            payload,
            content_type: None,
            attributes: Vec::new(),
            priority: 0,
            delay_ms: 0,
            max_attempts: None,
            retry: None,
            ttl_ms: None,
            dedupe: None,
            fairness_key: None,
            weight: None,
            ordering_key: None,
            group: None,
            after: Vec::new(),
        }
    }

    /// Checks the values: those of the request, and those that the policy has set.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check_name("queue", &self.queue)?;
        check_range("delay_ms", self.delay_ms, 0, MAX_DELAY_MS)?;
        if let Some(attempts) = self.max_attempts {
            check_range("max_attempts", attempts.into(), 1, u32::MAX.into())?;
        }
        if let Some(retry) = &self.retry {
            retry.check("retry")?;
        }
        if let Some(ttl_ms) = self.ttl_ms {
            check_range("ttl_ms", ttl_ms, 1, MAX_DELAY_MS)?;
        }
        if let Some(rule) = &self.dedupe {
            check_name("dedupe_key", &rule.key)?;
            check_range(
                "dedupe_window_ms",
                rule.window_ms.unwrap_or(1),
                1,
                MAX_DELAY_MS,
            )?;
        }
        if let Some(weight) = self.weight {
            check_range("weight", weight.into(), 1, MAX_WEIGHT.into())?;
        }
        let names = [
            ("fairness_key", &self.fairness_key),
            ("ordering_key", &self.ordering_key),
            ("group", &self.group),
            ("content_type", &self.content_type),
        ];
        for (field, name) in names {
            if let Some(name) = name {
                check_name(field, name)?;
            }
        }
        self.check_attributes()?;
        check_range("after", self.after.len() as u64, 0, MAX_AFTER as u64)
    }

    fn check_attributes(&self) -> Result<(), Refusal> {
        check_range(
            "attributes",
            self.attributes.len() as u64,
            0,
            MAX_ATTRIBUTES as u64,
        )?;
        for (name, value) in &self.attributes {
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                let text = format!(
                    "a name of an attribute has {} bytes; it must have 1 to {MAX_NAME_BYTES}",
                    name.len()
                );
                return Err(out_of_range("attributes", text));
            }
            if value.len() > MAX_ATTRIBUTE_BYTES {
                let text = format!(
                    "attribute {name:?} has {} bytes, the limit is {MAX_ATTRIBUTE_BYTES}; put long content into the payload",
                    value.len()
                );
                return Err(out_of_range(&format!("attributes.{name}"), text));
            }
        }
        Ok(())
    }

    /// Whether it has fields that only few tasks have.
    pub(crate) fn has_extra(&self) -> bool {
        self.content_type.is_some()
            || !self.attributes.is_empty()
            || self.retry.is_some()
            || self.dedupe.is_some()
            || self.ordering_key.is_some()
            || self.group.is_some()
            || !self.after.is_empty()
    }
}

/// A task refers to a position in its batch that adds none.
pub(crate) fn not_in_batch(position: u32) -> Refusal {
    out_of_range(
        "after_batch",
        format!("the batch adds no task at position {position} before this one"),
    )
}
