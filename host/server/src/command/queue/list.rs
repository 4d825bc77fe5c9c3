//! `oarlock queue list`, `peek`, `dead` and `task`: tasks.

use std::fmt::Write;

use oarlock_client::queue::{ListOptions, ListedTask, Queue, TaskPage};
use serde_json::json;

use super::failure::explained;
use super::shown::{plain, time};
use crate::command::output::{print_coloured, print_safely, write_json};
use crate::command::table::{Align, Table};
use crate::exit::Failure;

/// Prints a page of tasks.
pub(super) async fn list(queue: &Queue, options: &ListOptions, json: bool) -> Result<(), Failure> {
    let page = match queue.list(options).await {
        Ok(page) => page,
        Err(error) => return Err(explained(queue, error).await),
    };
    if json {
        return write_json(std::io::stdout().lock(), &page);
    }
    print_coloured(&text(&page, options.payload))
}

fn text(page: &TaskPage, payload: bool) -> String {
    if page.tasks.is_empty() && page.next.is_none() {
        return "no tasks\n".to_owned();
    }
    let mut table = Table::new(&[
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("PRIORITY", Align::Right),
        ("ATTEMPTS", Align::Right),
        ("AGE", Align::Right),
        ("KEY", Align::Left),
        ("WORKER", Align::Left),
        (if payload { "CONTENT" } else { "ERROR" }, Align::Left),
    ]);
    for task in &page.tasks {
        let last = if payload {
            content(task)
        } else {
            task.error.clone().unwrap_or_default()
        };
        table.row([
            plain(task.id),
            plain(task.state.name()),
            plain(task.priority),
            plain(task.attempt),
            plain(time(task.age_ms)),
            plain(task.fairness_key.as_deref().unwrap_or("")),
            plain(task.worker.as_deref().unwrap_or("")),
            plain(last),
        ]);
    }
    let mut text = table.render();
    // Writing to a string never fails.
    if table.has_cut_cells() {
        let _ = writeln!(text, "long cells are cut: --json has all of them");
    }
    if let Some(next) = &page.next {
        let _ = writeln!(text, "more tasks: --after {:?}", print_safely(next));
    }
    text
}

fn content(task: &ListedTask) -> String {
    match (&task.payload, &task.payload_base64) {
        (Some(json), _) => json.get().to_owned(),
        (None, Some(base64)) => format!("base64 {base64}"),
        (None, None) => String::new(),
    }
}

/// Prints one task as JSON.
pub(super) async fn task(queue: &Queue, id: u64) -> Result<(), Failure> {
    let task = match queue.task(id).await {
        Ok(task) => task,
        Err(error) => return Err(explained(queue, error).await),
    };
    if task.is_none() {
        return Err(Failure::failed(format!(
            "there is no task {id}: it was never added, or it was acknowledged without a result, or removed"
        )));
    }
    write_json(std::io::stdout().lock(), &json!({ "task": task }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_errors_or_contents_and_where_it_continues() {
        let page: TaskPage = serde_json::from_str(
            r#"{"tasks":[{"id":7,"state":"dead","priority":-1,"attempt":3,"age_ms":61000,"worker":"w","error":"no\u001b[2J route",
                "payload":{"a": 1}}],"next":"0:7"}"#,
        )
        .expect("a page");
        let plain = |payload| anstream::adapter::strip_str(&text(&page, payload)).to_string();
        let errors = plain(false);
        assert!(errors.contains("no\u{fffd}[2J route"), "{errors}");
        assert!(
            errors.ends_with("more tasks: --after \"0:7\"\n"),
            "{errors}"
        );
        assert!(plain(true).contains("{\"a\": 1}"));
    }
}
