//! `oarlock queue cron`: schedules.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use oarlock_client::queue::{NewSchedule, NewTask, Queue, QueueError, ScheduleStats, Ticks};
use serde_json::json;

use super::content;
use super::failure::explained;
use super::shown::{attention, plain};
use crate::cli::{CronCommand, CronSetArgs};
use crate::command::output::{print_coloured, print_safely, write_json, write_out};
use crate::command::table::{Align, Table};
use crate::exit::Failure;

/// Lists or changes schedules. `queue`: the handle of a queue, by its name.
pub(super) async fn run(
    command: CronCommand,
    queue: impl Fn(&str) -> Queue,
    json: bool,
) -> Result<(), Failure> {
    match command {
        CronCommand::List => list(&queue(""), json).await,
        CronCommand::Set(args) => set(&queue(&args.queue), &args, json).await,
        CronCommand::Delete { name } => {
            let queue = queue("");
            match queue.delete_schedule(&name).await {
                Ok(()) => print(&format!("deleted the schedule {name}"), json),
                Err(error) => Err(explained(&queue, error).await),
            }
        }
    }
}

async fn set(queue: &Queue, args: &CronSetArgs, json: bool) -> Result<(), Failure> {
    let read = content::read(&args.content, std::io::stdin().lock())?;
    let ticks = match args.every_ms {
        Some(every_ms) => Ticks::Every {
            every_ms,
            start_ms: args.start_ms,
        },
        None => Ticks::At(args.at_ms.clone()),
    };
    let schedule = NewSchedule {
        name: args.name.clone(),
        task: NewTask::new(content::payload(&read, &args.content)?),
        ticks,
        catch_up: args.catch_up.name().to_owned(),
        paused: args.paused,
    };
    match queue.set_schedule(&schedule).await {
        Ok(()) => print(&format!("set the schedule {}", args.name), json),
        Err(error) => Err(explained(queue, error).await),
    }
}

fn print(line: &str, json: bool) -> Result<(), Failure> {
    if json {
        return write_json(std::io::stdout().lock(), &json!({}));
    }
    let line = format!("{}\n", print_safely(line));
    write_out(std::io::stdout().lock(), line.as_bytes())
}

async fn list(queue: &Queue, json: bool) -> Result<(), Failure> {
    let schedules = match gather(queue).await {
        Ok(schedules) => schedules,
        Err(error) => return Err(explained(queue, error).await),
    };
    if json {
        return write_json(std::io::stdout().lock(), &json!({ "schedules": schedules }));
    }
    print_coloured(&text(&schedules))
}

/// All schedules. A queue has at most 10,000.
async fn gather(queue: &Queue) -> Result<BTreeMap<String, ScheduleStats>, QueueError> {
    let (mut schedules, mut after) = (BTreeMap::new(), None);
    loop {
        let page = queue.schedules(after.as_deref()).await?;
        schedules.extend(page.schedules);
        match page.next {
            Some(next) if Some(&next) > after.as_ref() => after = Some(next),
            _ => return Ok(schedules),
        }
    }
}

fn text(schedules: &BTreeMap<String, ScheduleStats>) -> String {
    if schedules.is_empty() {
        return "no schedules\n".to_owned();
    }
    let mut table = Table::new(&[
        ("SCHEDULE", Align::Left),
        ("QUEUE", Align::Left),
        ("NEXT TICK", Align::Left),
        ("TICKS", Align::Right),
        ("FAILED", Align::Right),
        ("STATE", Align::Left),
    ]);
    for (name, schedule) in schedules {
        let next = schedule.next_ms.map_or_else(
            || "none".to_owned(),
            |ms| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms.min(LATEST_MS))),
        );
        table.row([
            plain(name),
            plain(&schedule.queue),
            plain(next),
            plain(schedule.ticks),
            attention(schedule.failed),
            plain(if schedule.paused { "paused" } else { "" }),
        ]);
    }
    table.render()
}

/// The end of the year 9999, the last time that a date of HTTP can have.
const LATEST_MS: u64 = 253_402_300_799_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_shows_its_next_tick_as_a_date() {
        let schedule = |next_ms| ScheduleStats {
            queue: "q".to_owned(),
            next_ms,
            ticks: 2,
            failed: 0,
            paused: next_ms.is_none(),
        };
        let schedules = BTreeMap::from([
            ("a".to_owned(), schedule(Some(784_111_777_000))),
            ("b".to_owned(), schedule(None)),
            ("c".to_owned(), schedule(Some(u64::MAX))),
        ]);
        let text = text(&schedules);
        assert!(text.contains("Sun, 06 Nov 1994 08:49:37 GMT"), "{text}");
        assert!(text.contains("none") && text.contains("paused"), "{text}");
        assert!(text.contains("9999"), "{text}");
    }
}
