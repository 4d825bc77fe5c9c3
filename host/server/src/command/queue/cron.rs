//! `oarlock queue cron`: schedules.

use std::collections::BTreeMap;
use std::time::Duration;

use oarlock_client::cron::{CronEvent, CronExpression, CronRefill, CronRunner, NewCron};
use oarlock_client::queue::{
    CatchUp, NewSchedule, NewTask, Queue, QueueError, ScheduleStats, Ticks,
};
use serde_json::json;

use super::content;
use super::failure::explained;
use super::operate::{ended, print};
use super::shown::{attention, plain};
use crate::cli::{CatchUpArg, CronAddArgs, CronCommand};
use crate::command::output::{print_coloured, warn, write_json};
use crate::command::table::{Align, Table};
use crate::exit::Failure;
use crate::serve::Signals;
use crate::timestamp::utc;

/// Pause before more missed ticks are added: meanwhile the cluster adds the tasks of those that are listed.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// Lists or changes schedules. `queue`: the handle of a queue, by its name.
pub(super) async fn run(
    command: CronCommand,
    queue: impl Fn(&str) -> Queue,
    json: bool,
) -> Result<(), Failure> {
    let any = queue("");
    let (outcome, line) = match command {
        CronCommand::List => return list(&any, json).await,
        CronCommand::Run { .. } => return run_once(&any, json).await,
        CronCommand::Add(args) => (
            add(&queue(&args.queue), &args).await?,
            format!("set the schedule {}", args.name),
        ),
        CronCommand::Remove { name } => (
            any.delete_schedule(&name).await,
            format!("removed the schedule {name}"),
        ),
        CronCommand::Pause { name } => (
            any.pause_schedule(&name, true).await,
            format!("paused the schedule {name}"),
        ),
        CronCommand::Resume { name } => (
            resume(&any, &name).await,
            format!("resumed the schedule {name}"),
        ),
    };
    ended(&any, outcome, &line, json).await
}

async fn add(queue: &Queue, args: &CronAddArgs) -> Result<Result<(), QueueError>, Failure> {
    let read = content::read(&args.content, std::io::stdin().lock())?;
    let task = NewTask::new(content::payload(&read, &args.content)?);
    let catch_up = match args.catch_up {
        CatchUpArg::Last => CatchUp::Last,
        CatchUpArg::All => CatchUp::All,
        CatchUpArg::Skip => CatchUp::Skip,
    };
    if let Some(expression) = &args.cron {
        let expression = CronExpression::parse(expression, &args.zone).map_err(Failure::usage)?;
        let cron = NewCron {
            catch_up,
            paused: args.paused,
            ..NewCron::new(&args.name, expression, task)
        };
        return Ok(queue.set_cron(&cron).await);
    }
    let ticks = match args.every_ms {
        Some(every_ms) => Ticks::Every {
            every_ms,
            start_ms: args.start_ms,
        },
        None => Ticks::At(args.at_ms.clone()),
    };
    let schedule = NewSchedule {
        name: args.name.clone(),
        task,
        ticks,
        future_only: false,
        catch_up,
        paused: args.paused,
    };
    Ok(queue.set_schedule(&schedule).await)
}

/// Resumes a schedule. Its list of ticks may have passed meanwhile.
async fn resume(queue: &Queue, name: &str) -> Result<(), QueueError> {
    queue.pause_schedule(name, false).await?;
    warn_unusable(&queue.refill_cron_of(name).await?);
    Ok(())
}

/// Adds the ticks that are needed now. Many missed ticks take several rounds, each of which is a line on standard error.
async fn run_once(queue: &Queue, json: bool) -> Result<(), Failure> {
    let mut ticks = 0;
    loop {
        let mut done = match queue.refill_cron().await {
            Ok(done) => done,
            Err(error) => {
                let failure = explained(queue, error).await;
                return Err(failure.noted(format!("{ticks} ticks were added before")));
            }
        };
        ticks += done.ticks;
        if done.behind == 0 {
            done.ticks = ticks;
            return tell(&done, json);
        }
        warn(&summary(&done));
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// Adds ticks to all schedules with a cron expression until a signal.
pub(super) async fn run_on(queue: Queue, json: bool) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let runner = CronRunner::new(queue.clone()).on_event(move |event| match event {
        CronEvent::Refilled(done) => {
            // A closed pipe ends nothing here: the schedules matter, not the lines.
            let _ = tell(done, json);
        }
        CronEvent::Unavailable(error) => warn(&format!("{error}; trying again")),
        _ => {}
    });
    tokio::select! {
        outcome = runner.run() => match outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(explained(&queue, error).await),
        },
        () = signals.next() => Ok(()),
    }
}

fn tell(done: &CronRefill, json: bool) -> Result<(), Failure> {
    warn_unusable(done);
    let value = json!({"schedules": done.schedules, "ticks": done.ticks, "behind": done.behind, "unusable": done.unusable.len()});
    print(&summary(done), &value, json)
}

fn warn_unusable(done: &CronRefill) {
    for (name, error) in &done.unusable {
        warn(&format!("schedule {name} gets no ticks: {error}"));
    }
}

fn summary(done: &CronRefill) -> String {
    let behind = match done.behind {
        0 => String::new(),
        number => format!("; behind: {number}"),
    };
    format!(
        "schedules with a cron expression: {}; ticks added: {}{behind}",
        done.schedules, done.ticks
    )
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
        ("CRON", Align::Left),
    ]);
    for (name, schedule) in schedules {
        let next = schedule.next_ms.map_or_else(|| "none".to_owned(), utc);
        table.row([
            plain(name),
            plain(&schedule.queue),
            plain(next),
            plain(schedule.ticks),
            attention(schedule.failed),
            plain(if schedule.paused { "paused" } else { "" }),
            plain(schedule.cron.as_ref().map_or("", |cron| &cron.expression)),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use oarlock_client::queue::CronStats;

    use super::*;

    #[test]
    fn a_schedule_shows_its_next_tick_as_a_date() {
        let schedule = |next_ms| ScheduleStats {
            queue: "q".to_owned(),
            next_ms,
            ticks: 2,
            failed: 0,
            paused: next_ms.is_none(),
            cron: next_ms.map(|last_ms| CronStats {
                expression: "CRON_TZ=Europe/Berlin 0 9 * * *".to_owned(),
                last_ms,
                left: 1,
                catch_up: CatchUp::Last,
            }),
        };
        let schedules = BTreeMap::from([
            ("a".to_owned(), schedule(Some(784_111_777_000))),
            ("b".to_owned(), schedule(None)),
            ("c".to_owned(), schedule(Some(u64::MAX))),
        ]);
        let text = text(&schedules);
        assert!(text.contains("1994-11-06T08:49:37Z"), "{text}");
        assert!(text.contains("none") && text.contains("paused"), "{text}");
        assert!(text.contains("18446744073709551615 ms"), "{text}");
        assert!(text.contains("CRON_TZ=Europe/Berlin 0 9 * * *"), "{text}");
    }

    #[test]
    fn a_round_names_schedules_that_are_behind() {
        let mut done = CronRefill {
            schedules: 3,
            ticks: 9,
            ..CronRefill::default()
        };
        let line = "schedules with a cron expression: 3; ticks added: 9";
        assert_eq!(summary(&done), line);
        done.behind = 2;
        assert_eq!(summary(&done), format!("{line}; behind: 2"));
    }
}
