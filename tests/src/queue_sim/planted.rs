//! Faults between the clients and the queue, which prove that the checker finds such faults. The guest has no switch for them.

use oarlock_guest::Token;
use oarlock_guest::testing::Harness;
use oarlock_queue::Queues;
use serde_json::{Value, json};

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names tell it")]
pub enum PlantedQueueFault {
    TasksLost,
    TasksDeliveredTwice,
    StaleTokensWork,
    ValidTokensRefused,
    DelaysForgotten,
    RetryDelaysForgotten,
    LeasesShortened,
    ExtensionsForgotten,
    AttemptsNotCounted,
    AttemptsUnlimited,
    AcknowledgementsForgotten,
    DeadTasksDropped,
    OrderingKeysForgotten,
    PrioritiesForgotten,
    FairnessKeysForgotten,
    ConcurrencyForgotten,
    RateForgotten,
    PausesForgotten,
    DedupeKeysForgotten,
    CancelForgotten,
    WaitersOutOfOrder,
    WaitsForgotten,
    RestoreLosesTasks,
    BatchesCutShort,
    TimesToLiveForgotten,
    DeadLettersForgotten,
    GroupsForgotten,
    TicksTooOften,
    WeightsMultiplied,
    ResultsForgotten,
    LengthsForgotten,
    OverflowRefused,
    KeyRatesForgotten,
    RetryPoliciesForgotten,
    DedupeWindowsForgotten,
    LaterTasksNotKept,
    PurgesForgotten,
    RedrivesForgotten,
    DependenciesForgotten,
    EndsNotTold,
    SchedulePausesForgotten,
    ListedTicksLost,
}

use PlantedQueueFault as Fault;

impl PlantedQueueFault {
    /// All of them.
    pub const ALL: [Self; 42] = [
        Self::TasksLost,
        Self::TasksDeliveredTwice,
        Self::StaleTokensWork,
        Self::ValidTokensRefused,
        Self::DelaysForgotten,
        Self::RetryDelaysForgotten,
        Self::LeasesShortened,
        Self::ExtensionsForgotten,
        Self::AttemptsNotCounted,
        Self::AttemptsUnlimited,
        Self::AcknowledgementsForgotten,
        Self::DeadTasksDropped,
        Self::OrderingKeysForgotten,
        Self::PrioritiesForgotten,
        Self::FairnessKeysForgotten,
        Self::ConcurrencyForgotten,
        Self::RateForgotten,
        Self::PausesForgotten,
        Self::DedupeKeysForgotten,
        Self::CancelForgotten,
        Self::WaitersOutOfOrder,
        Self::WaitsForgotten,
        Self::RestoreLosesTasks,
        Self::BatchesCutShort,
        Self::TimesToLiveForgotten,
        Self::DeadLettersForgotten,
        Self::GroupsForgotten,
        Self::TicksTooOften,
        Self::WeightsMultiplied,
        Self::ResultsForgotten,
        Self::LengthsForgotten,
        Self::OverflowRefused,
        Self::KeyRatesForgotten,
        Self::RetryPoliciesForgotten,
        Self::DedupeWindowsForgotten,
        Self::LaterTasksNotKept,
        Self::PurgesForgotten,
        Self::RedrivesForgotten,
        Self::DependenciesForgotten,
        Self::EndsNotTold,
        Self::SchedulePausesForgotten,
        Self::ListedTicksLost,
    ];
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted(Value),
    /// The code of the refusal.
    Refused(String),
    /// Its reply comes later.
    Waits(Token),
}

/// The queue, with a planted fault or without.
pub(super) struct FaultyQueue {
    pub(super) queue: Harness<Queues>,
    planted: Option<Fault>,
    /// Commands so far.
    count: u64,
    /// A task that was delivered.
    delivered: Option<Value>,
    /// An earlier snapshot.
    snapshot: Vec<u8>,
}

impl FaultyQueue {
    pub(super) fn new(planted: Option<Fault>) -> Self {
        let queue = Harness::new().without_refusal_check();
        let snapshot = queue.snapshot();
        Self {
            queue,
            planted,
            count: 0,
            delivered: None,
            snapshot,
        }
    }

    /// Applies a command.
    pub(super) fn send(&mut self, command: &Value) -> Outcome {
        self.count += 1;
        if self.planted == Some(Fault::RestoreLosesTasks) && self.count.is_multiple_of(40) {
            self.snapshot = self.queue.snapshot();
        }
        let (name, fields) = name_and_fields(command);
        if let Some(forged) = self.instead(name, fields) {
            return forged;
        }
        let mut changed = command.clone();
        if let Some(fields) = changed[name].as_object_mut() {
            self.change(name, fields);
        }
        let outcome = self.apply(&changed);
        self.after(name, fields, outcome)
    }

    fn apply(&mut self, command: &Value) -> Outcome {
        let outcome = self.queue.send(command.to_string());
        if let Some(token) = outcome.deferred {
            return Outcome::Waits(token);
        }
        let body: Value = serde_json::from_str(outcome.text()).unwrap_or(Value::Null);
        if outcome.accepted {
            Outcome::Accepted(body)
        } else {
            Outcome::Refused(body["error"]["code"].as_str().unwrap_or("").to_owned())
        }
    }

    fn is_chosen(&self) -> bool {
        self.count.is_multiple_of(3)
    }

    /// An outcome without the command.
    fn instead(&mut self, name: &str, fields: &Value) -> Option<Outcome> {
        let accepted = |body| Some(Outcome::Accepted(body));
        match (self.planted?, name) {
            (Fault::ValidTokensRefused, "ack") if self.is_chosen() => {
                Some(Outcome::Refused("stale_token".to_owned()))
            }
            (Fault::AcknowledgementsForgotten, "ack") if self.is_chosen() => {
                match self.apply(&json!({"extend": {"id": fields["id"], "token": fields["token"], "lease_ms": 50}})) {
                    Outcome::Accepted(_) => accepted(json!({})),
                    refused => Some(refused),
                }
            }
            (Fault::ExtensionsForgotten, "extend") => {
                let until_ms = self.queue.time_ms() + fields["lease_ms"].as_u64()?;
                self.queue.send(json!({"extend": {"id": fields["id"], "token": fields["token"], "lease_ms": 1}}).to_string());
                accepted(json!({ "lease_until_ms": until_ms }))
            }
            (Fault::AttemptsNotCounted, "nack") => {
                let release = json!({"release": {"id": fields["id"], "token": fields["token"]}});
                match self.apply(&release) {
                    Outcome::Accepted(_) => accepted(json!({"state": "delayed"})),
                    refused => Some(refused),
                }
            }
            (Fault::PausesForgotten, "pause") => accepted(json!({})),
            (Fault::SchedulePausesForgotten, "pause_schedule") => accepted(json!({})),
            (Fault::PurgesForgotten, "purge") if fields["dead"] == true => {
                accepted(json!({"removed": 0, "more": false}))
            }
            (Fault::RedrivesForgotten, "redrive") => accepted(json!({"redriven": 0})),
            (Fault::CancelForgotten, "cancel") if self.is_chosen() => {
                accepted(json!({"state": "cancelled"}))
            }
            _ => None,
        }
    }

    /// Changes a command on its way.
    fn change(&self, name: &str, fields: &mut serde_json::Map<String, Value>) {
        let dropped = match (self.planted, name) {
            (Some(Fault::DelaysForgotten), "enqueue") => &["delay_ms"][..],
            (Some(Fault::RetryDelaysForgotten), "nack") => &["delay_ms"],
            (Some(Fault::AttemptsUnlimited), "enqueue") => &["max_attempts"],
            (Some(Fault::OrderingKeysForgotten), "enqueue") => &["ordering_key"],
            (Some(Fault::PrioritiesForgotten), "enqueue") => &["priority"],
            (Some(Fault::FairnessKeysForgotten), "enqueue") => &["fairness_key"],
            (Some(Fault::ConcurrencyForgotten), "configure") => &["concurrency", "key_concurrency"],
            (Some(Fault::RateForgotten), "configure") => &["rate"],
            (Some(Fault::DedupeKeysForgotten), "enqueue") => &["dedupe_key"],
            (Some(Fault::WaitsForgotten), "reserve") => &["wait_ms"],
            (Some(Fault::TimesToLiveForgotten), "enqueue") => &["ttl_ms"],
            (Some(Fault::DeadLettersForgotten), "configure") => &["dead_letter"],
            (Some(Fault::GroupsForgotten), "enqueue") => &["group"],
            (Some(Fault::ResultsForgotten), "ack") => &["result", "result_ttl_ms"],
            (Some(Fault::LengthsForgotten), "configure") => &["max_length"],
            (Some(Fault::OverflowRefused), "configure") => &["overflow"],
            (Some(Fault::KeyRatesForgotten), "configure") => &["key_rate"],
            (Some(Fault::RetryPoliciesForgotten), "configure" | "enqueue") => &["retry"],
            (Some(Fault::DedupeWindowsForgotten), "enqueue") => &["dedupe_window_ms"],
            (Some(Fault::LaterTasksNotKept), "enqueue") => &["dedupe_keep"],
            (Some(Fault::DependenciesForgotten), "enqueue") => &["after"],
            _ => &[],
        };
        for field in dropped {
            fields.remove(*field);
        }
        if self.planted == Some(Fault::ListedTicksLost)
            && let Some(ticks) = fields.get_mut("at_ms").and_then(Value::as_array_mut)
        {
            ticks.truncate(1);
        }
        if self.planted == Some(Fault::LeasesShortened)
            && name == "reserve"
            && let Some(lease_ms) = fields["lease_ms"].as_u64()
        {
            fields["lease_ms"] = (lease_ms / 2).into();
        }
        let changed = match (self.planted, name) {
            (Some(Fault::TicksTooOften), "set_schedule") => "every_ms",
            (Some(Fault::WeightsMultiplied), "configure_key") => "weight",
            _ => return,
        };
        if let Some(value) = fields.get(changed).and_then(Value::as_u64) {
            // A schedule has at least a second.
            let other = if changed == "weight" {
                value * 5
            } else {
                1000.max(value / 2)
            };
            fields[changed] = other.into();
        }
    }

    /// Changes an outcome, or the state behind it.
    fn after(&mut self, name: &str, fields: &Value, outcome: Outcome) -> Outcome {
        match (self.planted, name, outcome) {
            (Some(Fault::BatchesCutShort), "batch", Outcome::Accepted(mut reply)) => {
                // The last task that it added is gone.
                let results = reply["results"].as_array_mut().into_iter().flatten();
                let added = results
                    .rev()
                    .find(|result| result["ok"]["duplicate"] == false);
                if let Some(added) = added {
                    let cancel = json!({"cancel": {"id": added["ok"]["id"]}});
                    self.queue.send(cancel.to_string());
                }
                Outcome::Accepted(reply)
            }
            (Some(Fault::TasksLost), "enqueue", Outcome::Accepted(reply)) => {
                if self.is_chosen() && reply["duplicate"] == false {
                    self.queue
                        .send(json!({"cancel": {"id": reply["id"]}}).to_string());
                }
                Outcome::Accepted(reply)
            }
            (Some(Fault::StaleTokensWork), "ack", Outcome::Refused(code))
                if code == "stale_token" =>
            {
                Outcome::Accepted(json!({}))
            }
            (Some(Fault::DeadTasksDropped), "nack", Outcome::Accepted(reply)) => {
                if reply["state"] == "dead" {
                    self.queue
                        .send(json!({"cancel": {"id": fields["id"]}}).to_string());
                }
                Outcome::Accepted(reply)
            }
            (Some(Fault::LeasesShortened), "reserve", Outcome::Accepted(mut reply)) => {
                let lease_ms = fields["lease_ms"].as_u64().unwrap_or(0);
                for task in reply["tasks"].as_array_mut().into_iter().flatten() {
                    task["lease_until_ms"] = (self.queue.time_ms() + lease_ms).into();
                }
                Outcome::Accepted(reply)
            }
            (Some(Fault::TasksDeliveredTwice), "reserve", Outcome::Accepted(reply)) => {
                if reply["tasks"] == json!([])
                    && let Some(task) = self.delivered.take()
                {
                    return Outcome::Accepted(json!({ "tasks": [task] }));
                }
                if let Some(task) = reply["tasks"].get(0) {
                    self.delivered = Some(task.clone());
                }
                Outcome::Accepted(reply)
            }
            (_, _, outcome) => outcome,
        }
    }

    /// The replies to commands that waited, with their tokens.
    pub(super) fn take_replies(&mut self) -> Vec<(Token, Value)> {
        let replies = self.queue.take_replies();
        let mut replies: Vec<(Token, Value)> = replies
            .iter()
            .map(|reply| {
                let body = serde_json::from_str(reply.text()).unwrap_or(Value::Null);
                (reply.token, body)
            })
            .collect();
        if self.planted == Some(Fault::EndsNotTold) {
            replies.retain(|(_, reply)| reply["state"].is_null());
        }
        if self.planted == Some(Fault::WaitersOutOfOrder) {
            let waiting = self.queue.waiting();
            for (token, _) in &mut replies {
                // The last one that waits takes the place of the first, whose reply gets lost.
                if let Some(&last) = waiting.last() {
                    *token = last;
                }
            }
        }
        replies
    }

    /// Continues with a state that was restored from a snapshot.
    pub(super) fn restore(&mut self) {
        self.queue = self.queue.restored();
        if self.planted == Some(Fault::RestoreLosesTasks) {
            let restored = self.queue.restore(&self.snapshot);
            restored.unwrap_or_else(|error| panic!("its own snapshot: {error}"));
        }
    }
}

/// Name and fields of a command.
pub(super) fn name_and_fields(command: &Value) -> (&str, &Value) {
    let first = command
        .as_object()
        .and_then(|command| command.iter().next());
    first.map_or(("", &Value::Null), |(name, fields)| (name.as_str(), fields))
}
