//! What a step of a suite expects, and whether a result meets it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::result::{StepReply, StepResult};

/// What must follow a step.
#[derive(Debug)]
pub(crate) struct ExpectedStep {
    /// `None`: a command is accepted or deferred, and a query has a response.
    pub(crate) outcome: Option<ExpectedOutcome>,
    /// Every completion of the step, in order; `None`: any.
    pub(crate) completes: Option<Vec<ExpectedCompletion>>,
    /// Every event of the step, in order; `None`: any.
    pub(crate) events: Option<Vec<ExpectedEvent>>,
}

/// The outcome of a command or query.
#[derive(Debug)]
pub(crate) enum ExpectedOutcome {
    /// A reply or response.
    Accepted(Matcher),
    /// The guest's refusal.
    Refused(Matcher),
    /// The guest fails.
    Fails {
        /// The code: `trap`, `out_of_fuel` or `out_of_memory`.
        code: Option<String>,
        /// A part of the message.
        with: Option<String>,
    },
    /// The reply follows later, under this name.
    Deferred(String),
}

/// The late reply to a deferred command.
#[derive(Debug)]
pub(crate) struct ExpectedCompletion {
    /// The name that the step of the command gave it.
    pub(crate) deferred: String,
    /// It is a reply, and no refusal.
    pub(crate) is_accepted: bool,
    /// The reply or refusal.
    pub(crate) body: Matcher,
}

/// An event.
#[derive(Debug)]
pub(crate) struct ExpectedEvent {
    /// Its topic.
    pub(crate) topic: String,
    /// Its payload.
    pub(crate) payload: Matcher,
}

/// What bytes must be.
#[derive(Debug)]
pub(crate) enum Matcher {
    /// Any bytes.
    Any,
    /// This JSON value. The order of keys and white space do not matter.
    Exact(Value),
    /// JSON that contains this: an object may have more keys, at each depth.
    Has(Value),
    /// This text.
    Text(String),
}

impl Matcher {
    fn is_met_by(&self, bytes: &[u8]) -> bool {
        let json = || serde_json::from_slice::<Value>(bytes).ok();
        match self {
            Self::Any => true,
            Self::Exact(value) => json().as_ref() == Some(value),
            Self::Has(part) => json().is_some_and(|whole| contains(&whole, part)),
            Self::Text(text) => bytes == text.as_bytes(),
        }
    }
}

/// Whether a value has all keys of an object, each with a value that contains the expected one. Other values are equal.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        _ => whole == part,
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Exact(value) => write!(f, "{value}"),
            Self::Has(value) => write!(f, "JSON with {value}"),
            Self::Text(text) => write!(f, "the text {text:?}"),
        }
    }
}

/// A difference between what is expected and what happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What differs: `reply`, `events`, …
    pub(crate) what: &'static str,
    pub(crate) expected: String,
    pub(crate) got: String,
}

/// Names of deferred commands, by the guest's token.
pub(crate) type DeferredNames = BTreeMap<u64, String>;

impl ExpectedStep {
    /// Differences between this and a result. A newly deferred command gets its name in `names`.
    pub(crate) fn differences(
        &self,
        result: &StepResult,
        names: &mut DeferredNames,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        if let Some(reply) = &result.reply {
            found.extend(self.reply_difference(reply, names));
        }
        found.extend(self.completion_difference(result, names));
        found.extend(self.event_difference(result));
        found
    }

    fn reply_difference(&self, reply: &StepReply, names: &mut DeferredNames) -> Option<Difference> {
        let (is_met, expected) = match &self.outcome {
            None => {
                let is_met = matches!(reply, StepReply::Accepted(_) | StepReply::Deferred(_));
                (is_met, "a reply".to_owned())
            }
            Some(ExpectedOutcome::Accepted(matcher)) => {
                let is_met =
                    matches!(reply, StepReply::Accepted(bytes) if matcher.is_met_by(bytes));
                (is_met, format!("reply {matcher}"))
            }
            Some(ExpectedOutcome::Refused(matcher)) => {
                let is_met = matches!(reply, StepReply::Refused(bytes) if matcher.is_met_by(bytes));
                (is_met, format!("refusal {matcher}"))
            }
            Some(ExpectedOutcome::Fails { code, with }) => {
                let is_met = matches!(reply, StepReply::Failed { code: found, message }
                    if code.as_ref().is_none_or(|code| code == found)
                        && with.as_ref().is_none_or(|with| message.contains(with.as_str())));
                let code = code.as_deref().unwrap_or("of any code");
                let with = with.as_ref().map(|with| format!(" with {with:?}"));
                (
                    is_met,
                    format!("failure {code}{}", with.unwrap_or_default()),
                )
            }
            Some(ExpectedOutcome::Deferred(name)) => {
                if let StepReply::Deferred(token) = reply {
                    names.insert(*token, name.clone());
                }
                let is_met = matches!(reply, StepReply::Deferred(_));
                (is_met, format!("deferred as {name:?}"))
            }
        };
        (!is_met).then(|| Difference {
            what: "outcome",
            expected,
            got: reply.to_string(),
        })
    }

    fn completion_difference(
        &self,
        result: &StepResult,
        names: &DeferredNames,
    ) -> Option<Difference> {
        let expected = self.completes.as_ref()?;
        let got = &result.effects.completions;
        let is_met = expected.len() == got.len()
            && expected.iter().zip(got).all(|(expected, got)| {
                names.get(&got.token) == Some(&expected.deferred)
                    && got.accepted == expected.is_accepted
                    && expected.body.is_met_by(&got.reply)
            });
        let expected = expected.iter().map(|one| {
            let kind = if one.is_accepted { "reply" } else { "refusal" };
            format!("{:?} {kind} {}", one.deferred, one.body)
        });
        let got = got.iter().map(|one| {
            let kind = if one.accepted { "reply" } else { "refusal" };
            let name = match names.get(&one.token) {
                Some(name) => format!("{name:?}"),
                None => format!("token {}", one.token),
            };
            format!("{name} {kind} {}", String::from_utf8_lossy(&one.reply))
        });
        (!is_met).then(|| Difference {
            what: "completions",
            expected: listed(expected),
            got: listed(got),
        })
    }

    fn event_difference(&self, result: &StepResult) -> Option<Difference> {
        let expected = self.events.as_ref()?;
        let got = &result.effects.events;
        let is_met = expected.len() == got.len()
            && expected.iter().zip(got).all(|(expected, got)| {
                expected.topic == got.topic && expected.payload.is_met_by(&got.payload)
            });
        let expected = expected
            .iter()
            .map(|one| format!("{:?} {}", one.topic, one.payload));
        let got = got
            .iter()
            .map(|one| format!("{:?} {}", one.topic, String::from_utf8_lossy(&one.payload)));
        (!is_met).then(|| Difference {
            what: "events",
            expected: listed(expected),
            got: listed(got),
        })
    }
}

/// Items on one line.
pub(super) fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join("; ")
    }
}
