//! `oarlock queue configure-key`, `keys` and `stuck`: fairness keys, and what needs attention.

use std::fmt::Write;

use oarlock_client::queue::{FairnessKeysPage, ListedTask, Queue, StuckReport};

use super::failure::explained;
use super::operate;
use super::shown::{plain, time};
use crate::command::output::{print_coloured, print_safely, write_json};
use crate::command::table::{Align, Table};
use crate::exit::Failure;

/// Changes settings of a key.
pub(super) async fn configure(
    queue: &Queue,
    key: &str,
    settings: &str,
    json: bool,
) -> Result<(), Failure> {
    let settings = operate::settings(settings, "{\"weight\":5}")?;
    let outcome = queue.configure_key(key, &settings).await;
    let line = format!("changed the settings of {key} in {}", queue.name());
    operate::ended(queue, outcome, &line, json).await
}

/// Prints a page of keys.
pub(super) async fn list(queue: &Queue, after: Option<&str>, json: bool) -> Result<(), Failure> {
    let page = match queue.keys(after).await {
        Ok(page) => page,
        Err(error) => return Err(explained(queue, error).await),
    };
    if json {
        return write_json(std::io::stdout().lock(), &page);
    }
    print_coloured(&keys_text(&page))
}

fn keys_text(page: &FairnessKeysPage) -> String {
    if page.keys.is_empty() {
        return "no fairness keys\n".to_owned();
    }
    let mut table = Table::new(&[
        ("KEY", Align::Left),
        ("TASKS", Align::Right),
        ("LEASED", Align::Right),
        ("WEIGHT", Align::Right),
        ("STATE", Align::Left),
    ]);
    for (name, key) in &page.keys {
        table.row([
            plain(name),
            plain(key.tasks),
            plain(key.leased),
            plain(key.weight),
            plain(if key.blocked { "at a limit" } else { "" }),
        ]);
    }
    let mut text = table.render();
    if let Some(next) = &page.next {
        // Writing to a string never fails.
        let _ = writeln!(text, "more keys: --after {:?}", print_safely(next));
    }
    text
}

/// Prints what needs attention.
pub(super) async fn stuck(queue: &Queue, json: bool) -> Result<(), Failure> {
    let report = match queue.stuck().await {
        Ok(report) => report,
        Err(error) => return Err(explained(queue, error).await),
    };
    if json {
        return write_json(std::io::stdout().lock(), &report);
    }
    print_coloured(&stuck_text(&report))
}

fn stuck_text(report: &StuckReport) -> String {
    let mut text = String::new();
    if !report.unserved.is_empty() {
        let mut table = Table::new(&[
            ("UNSERVED QUEUE", Align::Left),
            ("READY", Align::Right),
            ("OLDEST", Align::Right),
            ("REASON", Align::Left),
        ]);
        for queue in &report.unserved {
            table.row([
                plain(&queue.queue),
                plain(queue.ready),
                plain(time(queue.oldest_ready_ms)),
                plain(&queue.reason),
            ]);
        }
        text += &table.render();
    }
    text += &tasks("LAST ATTEMPT", &report.last_attempt);
    text += &tasks("LONG LEASE", &report.long_leases);
    if report.more {
        text += "there are more\n";
    }
    if text.is_empty() {
        text += "nothing is stuck\n";
    }
    text
}

fn tasks(title: &'static str, tasks: &[ListedTask]) -> String {
    if tasks.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        (title, Align::Right),
        ("STATE", Align::Left),
        ("ATTEMPTS", Align::Right),
        ("AGE", Align::Right),
        ("WORKER", Align::Left),
        ("ERROR", Align::Left),
    ]);
    for task in tasks {
        table.row([
            plain(task.id),
            plain(task.state.name()),
            plain(task.attempt),
            plain(time(task.age_ms)),
            plain(task.worker.as_deref().unwrap_or("")),
            plain(task.error.as_deref().unwrap_or("")),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_stuck_tasks_are_tables() {
        let page = serde_json::from_str(
            r#"{"keys":{"a\u001b":{"tasks":3,"leased":1,"weight":5,"blocked":true}},"next":"a"}"#,
        )
        .expect("a page");
        let text = anstream::adapter::strip_str(&keys_text(&page)).to_string();
        assert!(
            text.contains("at a limit") && text.contains("a\u{fffd}"),
            "{text}"
        );
        assert!(text.ends_with("more keys: --after \"a\"\n"), "{text}");

        let report = serde_json::from_str(
            r#"{"unserved":[{"queue":"q","ready":2,"oldest_ready_ms":61000,"reason":"paused"}],
                "last_attempt":[{"id":7,"state":"leased","priority":0,"attempt":3,"age_ms":5,"worker":"w"}],
                "long_leases":[],"more":true}"#,
        )
        .expect("a report");
        let text = anstream::adapter::strip_str(&stuck_text(&report)).to_string();
        for part in [
            "UNSERVED QUEUE",
            "1m",
            "paused",
            "LAST ATTEMPT",
            "there are more",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("LONG LEASE"), "{text}");
        let empty = serde_json::from_str(
            r#"{"unserved":[],"last_attempt":[],"long_leases":[],"more":false}"#,
        )
        .expect("a report");
        assert_eq!(stuck_text(&empty), "nothing is stuck\n");
    }
}
