//! `oarlock events`: follows the guest's events.

use std::io::Write;

use oarlock_client::{EventOptions, ReceivedEvent};
use serde::Serialize;
use serde_json::value::RawValue;

use super::connect::{block_on, connect_patiently, refused};
use super::output::{Output, print_safely};
use crate::cli::EventsArgs;
use crate::events::EventId;
use crate::exit::Failure;

/// Prints events until the reader closes the output, or `--count` is reached.
///
/// # Errors
/// `--after` is not the id of an event, or no node accepts the connection.
pub(crate) fn events(args: EventsArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: EventsArgs) -> Result<(), Failure> {
    if let Some(after) = &args.after
        && after.parse::<EventId>().is_err()
    {
        return Err(Failure::usage(format!(
            "--after {after:?} is not the id of an event; use INDEX.N, for example 120.0"
        )));
    }
    let client = connect_patiently(&args.client)?;
    let mut stream = client.events(EventOptions {
        topic: args.topic,
        after: args.after,
    });
    let mut out = Output::new(std::io::stdout());
    let mut left = args.count;
    while left != Some(0) {
        let event = stream
            .next()
            .await
            .map_err(|error| refused(&error, &error))?;
        if write(&mut out, &event, args.client.output.json)? {
            left = left.map(|left| left - 1);
        } else {
            break;
        }
    }
    Ok(())
}

/// Writes one line. False: the reader has closed the output.
fn write(out: &mut Output<impl Write>, event: &ReceivedEvent, json: bool) -> Result<bool, Failure> {
    let ReceivedEvent { id, topic, data } = event;
    let line = if json {
        let parsed = serde_json::from_str::<&RawValue>(data).ok();
        let line = EventLine {
            id,
            topic,
            data: parsed,
            data_text: parsed.is_none().then_some(data),
        };
        serde_json::to_string(&line).map_err(|error| {
            Failure::failed(format!(
                "cannot encode an event as JSON: {error}; this is a bug, please report it"
            ))
        })?
    } else {
        format!(
            "{} {} {}",
            print_safely(id),
            print_safely(topic),
            print_safely(data)
        )
    };
    Ok(out.line(line).is_ok())
}

/// An event as JSON. Data that is JSON is embedded.
#[derive(Serialize)]
struct EventLine<'e> {
    id: &'e str,
    topic: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'e RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_text: Option<&'e str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        for (data, text, json) in [
            (
                "{\"a\":1}",
                "5.0 t {\"a\":1}\n",
                "{\"id\":\"5.0\",\"topic\":\"t\",\"data\":{\"a\":1}}\n",
            ),
            (
                "two\nlines",
                "5.0 t two\u{fffd}lines\n",
                "{\"id\":\"5.0\",\"topic\":\"t\",\"data_text\":\"two\\nlines\"}\n",
            ),
        ] {
            let event = ReceivedEvent {
                id: "5.0".to_owned(),
                topic: "t".to_owned(),
                data: data.to_owned(),
            };
            for (as_json, expected) in [(false, text), (true, json)] {
                let mut written = Vec::new();
                let done = write(&mut Output::new(&mut written), &event, as_json);
                assert_eq!(done, Ok(true));
                assert_eq!(String::from_utf8_lossy(&written), expected);
            }
        }
    }
}
