//! `oarlock queue`: producers, workers and operators of the task queue, through its commands and queries only.
//!
//! | module | what it does |
//! |---|---|
//! | [`put`] | adds tasks |
//! | [`work`] | runs a program for each task |
//! | [`stats`] | the numbers of queues, once or live |
//! | [`list`] | tasks: lists, contents, one task |
//! | [`operate`] | pause, resume, purge, redrive, cancel, settings |
//! | [`cron`] | schedules |
//! | [`groups`] | groups of tasks |
//! | [`keys`] | fairness keys, and what is stuck |
//! | [`wait`] | waits for the end of a task |
//! | [`failure`] | errors in the words of a user |
//! | [`content`] | the content of a task from arguments, file or standard input |
//! | [`shown`] | numbers and texts as cells of a table |

mod content;
mod cron;
mod failure;
mod groups;
mod keys;
mod list;
mod operate;
mod put;
mod shown;
mod stats;
mod wait;
mod work;

use std::time::Duration;

use oarlock_client::queue::{ListOptions, ListedState, Queue};

use super::connect::{block_on, connect, connect_patiently};
use crate::cli::{ClientArgs, CronCommand, ListArgs, ListStateArg, QueueArgs, QueueCommand};
use crate::exit::Failure;

/// Carries out a command about the task queue.
///
/// # Errors
/// No node responds, the cluster runs another guest, or the queue refuses the command.
pub(crate) fn queue(args: QueueArgs) -> Result<(), Failure> {
    let QueueArgs { command, client } = args;
    let json = client.output.json;
    match command {
        QueueCommand::Work(args) => {
            let queue = Queue::new(connect_patiently(&client)?, &args.queues[0]);
            block_on(work::run(args, queue, json))
        }
        QueueCommand::Top { refresh_ms } => {
            let queue = Queue::new(connect_patiently(&client)?, "");
            let refresh = Duration::from_millis(refresh_ms);
            block_on(stats::top(queue, refresh, json))
        }
        QueueCommand::Cron {
            command: CronCommand::Run { once: false },
        } => {
            let queue = Queue::new(connect_patiently(&client)?, "");
            block_on(cron::run_on(queue, json))
        }
        command => block_on(once(command, &client)),
    }
}

/// The commands with one result.
async fn once(command: QueueCommand, args: &ClientArgs) -> Result<(), Failure> {
    let client = connect(args)?;
    let timeout = Duration::from_millis(args.timeout_ms);
    let json = args.output.json;
    let queue = |name: &str| Queue::new(client.clone(), name).with_timeout(timeout);
    match command {
        QueueCommand::Put(args) => put::run(&args, &queue(&args.queue), json).await,
        QueueCommand::Stats { queue: name } => {
            stats::stats(&queue(name.as_deref().unwrap_or("")), json).await
        }
        QueueCommand::List(args) => {
            list::list(&queue(&args.queue), &list_options(&args), json).await
        }
        QueueCommand::Peek { queue: name, max } => {
            let options = ListOptions {
                max,
                payload: true,
                ..listed(ListedState::Ready)
            };
            list::list(&queue(&name), &options, json).await
        }
        QueueCommand::Dead {
            queue: name,
            max,
            after,
        } => {
            let options = ListOptions {
                max,
                after,
                ..listed(ListedState::Dead)
            };
            list::list(&queue(&name), &options, json).await
        }
        QueueCommand::Task { id } => list::task(&queue(""), id).await,
        QueueCommand::Redrive(args) => operate::redrive(&queue(&args.queue), &args, json).await,
        QueueCommand::Pause { queue: name } => operate::pause(&queue(&name), json).await,
        QueueCommand::Resume { queue: name } => operate::resume(&queue(&name), json).await,
        QueueCommand::Purge { queue: name, dead } => {
            operate::purge(&queue(&name), dead, json).await
        }
        QueueCommand::Cancel { id } => operate::cancel(&queue(""), id, json).await,
        QueueCommand::Configure {
            queue: name,
            settings,
        } => operate::configure(&queue(&name), &settings, json).await,
        QueueCommand::ConfigureKey {
            queue: name,
            key,
            settings,
        } => keys::configure(&queue(&name), &key, &settings, json).await,
        QueueCommand::Keys { queue: name, after } => {
            keys::list(&queue(&name), after.as_deref(), json).await
        }
        QueueCommand::Stuck => keys::stuck(&queue(""), json).await,
        QueueCommand::Wait { id, wait_ms } => {
            wait::wait(&queue(""), id, Duration::from_millis(wait_ms)).await
        }
        QueueCommand::Group { command } => groups::run(command, &queue(""), json).await,
        QueueCommand::Cron { command } => cron::run(command, queue, json).await,
        QueueCommand::Work(_) | QueueCommand::Top { .. } => {
            unreachable!("the caller handles commands that run on")
        }
    }
}

fn listed(state: ListedState) -> ListOptions {
    ListOptions {
        state,
        fairness_key: None,
        min_age_ms: 0,
        payload: false,
        max: 100,
        after: None,
    }
}

fn list_options(args: &ListArgs) -> ListOptions {
    ListOptions {
        state: match args.state {
            ListStateArg::Ready => ListedState::Ready,
            ListStateArg::Timed => ListedState::Timed,
            ListStateArg::Dead => ListedState::Dead,
        },
        fairness_key: args.fairness_key.clone(),
        min_age_ms: args.min_age_ms,
        payload: args.payload,
        max: args.max,
        after: args.after.clone(),
    }
}
