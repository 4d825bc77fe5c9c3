//! The suite: steps with expectations, read from JSON. `host/docs/testing-a-guest.md` describes the format.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use oarlock_wasm::{GuestCaller, MAX_KEY_BYTES, MachineQuery};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::expect::{ExpectedCompletion, ExpectedEvent, ExpectedOutcome, ExpectedStep, Matcher};

/// Most steps of a suite.
const MAX_STEPS: usize = 10_000;
/// Longest description of a step in a report, in characters.
const SHOWN_CHARS: usize = 100;

/// A suite.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The steps, in order.
    pub(crate) steps: Vec<SuiteStep>,
}

/// One step of a suite.
#[derive(Debug)]
pub(crate) struct SuiteStep {
    /// The line of the file on which it begins, from 1.
    pub(crate) line: usize,
    /// What it does, in one line.
    pub(crate) shown: String,
    /// What it does.
    pub(crate) action: StepAction,
    /// What must follow.
    pub(crate) expected: ExpectedStep,
    /// The module of `--from` does not know it.
    pub(crate) is_new: bool,
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum StepAction {
    /// Sends a command.
    Send {
        /// The command.
        body: Bytes,
        /// Its idempotency key.
        key: Option<String>,
        /// Who sends it.
        caller: Option<Arc<GuestCaller>>,
    },
    /// Sends a query.
    Query(MachineQuery),
    /// Advances the replicated time by this number of milliseconds; timers that are due fire.
    Advance(u64),
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// The line, and what is wrong there.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct RawSuite<'s> {
            #[serde(borrow)]
            steps: Vec<&'s RawValue>,
        }
        let suite: RawSuite<'_> = serde_json::from_str(text).map_err(|error| at(0, &error))?;
        if suite.steps.is_empty() || suite.steps.len() > MAX_STEPS {
            let steps = suite.steps.len();
            return Err(format!(
                "1: the suite has {steps} steps, but 1 to {MAX_STEPS} are allowed"
            ));
        }
        let steps = suite.steps.into_iter().map(|raw| step(text, raw.get()));
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
        })
    }
}

/// An error of the parser, `lines` lines before which its text begins.
fn at(lines: usize, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = text.rfind(" at line ").unwrap_or(text.len());
    format!("{}: {}", lines + error.line().max(1), &text[..place])
}

/// One step. `raw` is a part of `text`.
fn step(text: &str, raw: &str) -> Result<SuiteStep, String> {
    let before = (raw.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let lines = text.get(..before).unwrap_or_default().matches('\n').count();
    let step: RawStep<'_> = serde_json::from_str(raw).map_err(|error| at(lines, &error))?;
    let line = lines + 1;
    let wrong = |what: &str| format!("{line}: {what}");
    let (action, shown) = step.action().map_err(|what| wrong(&what))?;
    let is_new = step.new;
    let expected = step.expected(&action).map_err(|what| wrong(&what))?;
    Ok(SuiteStep {
        line,
        shown: cut(&shown),
        action,
        expected,
        is_new,
    })
}

/// At most [`SHOWN_CHARS`] characters on one line.
fn cut(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

/// A step as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep<'s> {
    #[serde(borrow, default, deserialize_with = "present")]
    send: Option<&'s RawValue>,
    send_text: Option<String>,
    key: Option<String>,
    caller: Option<RawCaller>,
    #[serde(borrow, default, deserialize_with = "present")]
    query: Option<&'s RawValue>,
    query_text: Option<String>,
    advance_ms: Option<u64>,
    #[serde(default, alias = "response", deserialize_with = "present")]
    reply: Option<Value>,
    #[serde(default, alias = "response_has", deserialize_with = "present")]
    reply_has: Option<Value>,
    #[serde(alias = "response_text")]
    reply_text: Option<String>,
    refused: Option<Value>,
    refused_text: Option<String>,
    fails: Option<String>,
    fails_with: Option<String>,
    deferred: Option<String>,
    completes: Option<Vec<RawCompletion>>,
    events: Option<Vec<RawEvent>>,
    #[serde(default)]
    new: bool,
}

/// Who sends a command or a query, as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCaller {
    name: String,
    #[serde(default)]
    scopes: BTreeMap<String, BTreeSet<String>>,
}

/// An expected completion as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCompletion {
    deferred: String,
    #[serde(default, deserialize_with = "present")]
    reply: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    reply_has: Option<Value>,
    reply_text: Option<String>,
    refused: Option<Value>,
    refused_text: Option<String>,
}

/// An expected event as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent {
    topic: String,
    #[serde(default, deserialize_with = "present")]
    payload: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    payload_has: Option<Value>,
    payload_text: Option<String>,
}

/// A value that may be `null`: that is another expectation than none.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl RawCaller {
    fn for_guest(&self) -> Result<Arc<GuestCaller>, String> {
        let caller = GuestCaller::new(self.name.clone(), self.scopes.clone());
        caller.map(Arc::new).map_err(|error| error.to_string())
    }
}

impl RawStep<'_> {
    /// What the step does, and its text.
    fn action(&self) -> Result<(StepAction, String), String> {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let send = self.send.map(RawValue::get).or(self.send_text.as_deref());
        let query = self.query.map(RawValue::get).or(self.query_text.as_deref());
        let given = [
            self.send.is_some(),
            self.send_text.is_some(),
            self.query.is_some(),
            self.query_text.is_some(),
            self.advance_ms.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let actions = "`send`, `send_text`, `query`, `query_text`, `advance_ms`";
            return Err(format!("a step needs exactly one of {actions}"));
        }
        if self.key.is_some() && send.is_none() {
            return Err("only a command has a `key`; remove it".to_owned());
        }
        let longest = 1..=MAX_KEY_BYTES;
        if self
            .key
            .as_ref()
            .is_some_and(|key| !longest.contains(&key.len()))
        {
            return Err("a `key` has 1 to 256 bytes; choose another".to_owned());
        }
        if self.caller.is_some() && self.advance_ms.is_some() {
            return Err("only a command or a query has a `caller`; remove it".to_owned());
        }
        let caller = self.caller.as_ref().map(RawCaller::for_guest).transpose()?;
        Ok(match (send, query, self.advance_ms) {
            (Some(text), _, _) => {
                let (body, key) = (bytes(text), self.key.clone());
                let action = StepAction::Send { body, key, caller };
                (action, format!("send {text}"))
            }
            (_, Some(text), _) => {
                let request = bytes(text);
                let query = MachineQuery::new(request, caller);
                (StepAction::Query(query), format!("query {text}"))
            }
            (_, _, by) => {
                let by = by.unwrap_or_default();
                (StepAction::Advance(by), format!("advance {by} ms"))
            }
        })
    }

    /// What must follow.
    fn expected(self, action: &StepAction) -> Result<ExpectedStep, String> {
        let reply = matcher(self.reply, self.reply_has, self.reply_text, "reply")?;
        let refused = refusal(self.refused, self.refused_text)?;
        let fails = self.fails.is_some() || self.fails_with.is_some();
        let kinds = [
            reply.is_some(),
            refused.is_some(),
            fails,
            self.deferred.is_some(),
        ];
        if kinds.into_iter().filter(|given| *given).count() > 1 {
            return Err(
                "a step expects one of a reply, `refused`, `fails` and `deferred`; keep one"
                    .to_owned(),
            );
        }
        let outcome = match (reply, refused, self.deferred) {
            (Some(reply), _, _) => Some(ExpectedOutcome::Accepted(reply)),
            (_, Some(refusal), _) => Some(ExpectedOutcome::Refused(refusal)),
            (_, _, Some(name)) => Some(ExpectedOutcome::Deferred(name)),
            _ if fails => Some(ExpectedOutcome::Fails {
                code: self.fails,
                with: self.fails_with,
            }),
            _ => None,
        };
        match (action, &outcome) {
            (StepAction::Advance(_), Some(_)) => {
                return Err("`advance_ms` has no reply; expect `events` or `completes`".to_owned());
            }
            (StepAction::Query(_), Some(ExpectedOutcome::Deferred(_))) => {
                return Err("a query can't be deferred; remove `deferred`".to_owned());
            }
            _ => {}
        }
        let completes = self
            .completes
            .map(|list| list.into_iter().map(completion).collect());
        let events = self
            .events
            .map(|list| list.into_iter().map(event).collect());
        Ok(ExpectedStep {
            outcome,
            completes: completes.transpose()?,
            events: events.transpose()?,
        })
    }
}

fn completion(raw: RawCompletion) -> Result<ExpectedCompletion, String> {
    let reply = matcher(raw.reply, raw.reply_has, raw.reply_text, "reply")?;
    let refused = refusal(raw.refused, raw.refused_text)?;
    let (is_accepted, body) = match (reply, refused) {
        (Some(_), Some(_)) => return Err("a completion is a reply or refused; keep one".to_owned()),
        (reply, None) => (true, reply.unwrap_or(Matcher::Any)),
        (None, Some(refusal)) => (false, refusal),
    };
    Ok(ExpectedCompletion {
        deferred: raw.deferred,
        is_accepted,
        body,
    })
}

fn event(raw: RawEvent) -> Result<ExpectedEvent, String> {
    let payload = matcher(raw.payload, raw.payload_has, raw.payload_text, "payload")?;
    Ok(ExpectedEvent {
        topic: raw.topic,
        payload: payload.unwrap_or(Matcher::Any),
    })
}

fn matcher(
    exact: Option<Value>,
    has: Option<Value>,
    text: Option<String>,
    name: &str,
) -> Result<Option<Matcher>, String> {
    match (exact, has, text) {
        (None, None, None) => Ok(None),
        (Some(value), None, None) => Ok(Some(Matcher::Exact(value))),
        (None, Some(value), None) => Ok(Some(Matcher::Has(value))),
        (None, None, Some(text)) => Ok(Some(Matcher::Text(text))),
        _ => Err(format!(
            "expect one of `{name}`, `{name}_has` and `{name}_text`; keep one"
        )),
    }
}

/// A code, parts of the error, or the whole text.
fn refusal(refused: Option<Value>, text: Option<String>) -> Result<Option<Matcher>, String> {
    match (refused, text) {
        (None, None) => Ok(None),
        (None, Some(text)) => Ok(Some(Matcher::Text(text))),
        (Some(Value::String(code)), None) => Ok(Some(Matcher::Has(
            serde_json::json!({"error": {"code": code}}),
        ))),
        (Some(Value::Object(parts)), None) => {
            Ok(Some(Matcher::Has(serde_json::json!({"error": parts}))))
        }
        (Some(Value::Bool(true)), None) => Ok(Some(Matcher::Any)),
        (Some(_), None) => {
            Err("`refused` is a code, an object with parts of the error, or true".to_owned())
        }
        (Some(_), Some(_)) => {
            Err("expect one of `refused` and `refused_text`; keep one".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
