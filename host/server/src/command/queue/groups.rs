//! `oarlock queue group`: groups of tasks.

use oarlock_client::queue::{NewGroup, NewTask, Queue, TaskPayload};
use serde_json::json;

use super::failure::explained;
use super::operate::ended;
use crate::cli::{GroupCommand, GroupOpenArgs};
use crate::command::output::{print_safely, write_json};
use crate::exit::Failure;

/// Begins, ends or shows a group.
pub(super) async fn run(command: GroupCommand, queue: &Queue, json: bool) -> Result<(), Failure> {
    match command {
        GroupCommand::Open(args) => {
            let outcome = queue.open_group(&group(&args)?).await;
            ended(queue, outcome, &format!("opened group {}", args.name), json).await
        }
        GroupCommand::Close { name } => {
            let outcome = queue.close_group(&name).await;
            ended(queue, outcome, &format!("closed group {name}"), json).await
        }
        GroupCommand::Show { name } => match queue.group(&name).await {
            Ok(Some(group)) => write_json(std::io::stdout().lock(), &json!({ "group": group })),
            Ok(None) => Err(Failure::failed(format!(
                "there is no group {}: it was never opened, or it is complete",
                print_safely(&name)
            ))),
            Err(error) => Err(explained(queue, error).await),
        },
    }
}

fn group(args: &GroupOpenArgs) -> Result<NewGroup, Failure> {
    let task = |flag: &str, given: &[String]| match given {
        [queue, payload] => {
            let payload = TaskPayload::json_text(payload).map_err(|error| {
                Failure::usage(format!(
                    "the content of {flag} is not JSON: {error}; write for example '\"done\"'"
                ))
            })?;
            Ok::<_, Failure>(Some((queue.clone(), NewTask::new(payload))))
        }
        [] => Ok(None),
        _ => Err(Failure::usage(format!(
            "{flag} is given twice; give it once"
        ))),
    };
    Ok(NewGroup {
        name: args.name.clone(),
        on_complete: task("--on-complete", &args.on_complete)?,
        on_dead: task("--on-dead", &args.on_dead)?,
    })
}
