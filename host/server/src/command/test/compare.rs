//! Differences between two copies after the same step.

use super::expect::{Difference, listed};
use super::result::StepResult;

/// Differences of `got` from the result of another copy, which is called `other` in the report. They must agree on the
/// reply, the events, the completions, the wake-up time and the bytes of the state.
pub(crate) fn differences(other: &str, first: &StepResult, got: &StepResult) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what, first: String, got: String| {
        found.push(Difference {
            what,
            expected: format!("{first} (as on the copy: {other})"),
            got,
        });
    };
    if first.reply != got.reply {
        let text = |result: &StepResult| match &result.reply {
            Some(reply) => reply.to_string(),
            None => "none".to_owned(),
        };
        compare("outcome", text(first), text(got));
    }
    if first.effects.events != got.effects.events {
        let text = |result: &StepResult| {
            let events = result.effects.events.iter();
            listed(events.map(|event| {
                format!(
                    "{:?} {}",
                    event.topic,
                    String::from_utf8_lossy(&event.payload)
                )
            }))
        };
        compare("events", text(first), text(got));
    }
    if first.effects.completions != got.effects.completions {
        let text = |result: &StepResult| {
            let completions = result.effects.completions.iter();
            listed(completions.map(|one| {
                let reply = String::from_utf8_lossy(&one.reply);
                format!("token {} {reply}", one.token)
            }))
        };
        compare("completions", text(first), text(got));
    }
    if first.wake_at_ms != got.wake_at_ms {
        let text = |result: &StepResult| format!("{} ms", result.wake_at_ms);
        compare("wake-up time", text(first), text(got));
    }
    if first.state != got.state {
        let text = |result: &StepResult| format!("the state with digest {}", result.state);
        compare("state", text(first), text(got));
    }
    found
}
