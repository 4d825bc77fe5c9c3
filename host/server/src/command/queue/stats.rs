//! `oarlock queue stats` and `oarlock queue top`: the numbers of queues.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use bytes::Bytes;
use oarlock_client::QueryOptions;
use oarlock_client::queue::{Queue, QueueError, QueueStats, StatsPage};
use serde_json::json;
use tokio::time::Instant;

use super::failure::explained;
use super::shown::{attention, plain, time};
use crate::command::output::{print_coloured, write_json};
use crate::command::table::{Align, Table, Tone};
use crate::exit::Failure;

/// Most queues that `stats` shows.
const MAX_QUEUES: usize = 10_000;
/// Most queues that `top` shows.
const TOP: usize = 40;
/// Clears a terminal and moves to its first line (ECMA-48, ED and CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Prints the numbers of one queue, or of all if the name is empty.
pub(super) async fn stats(queue: &Queue, json: bool) -> Result<(), Failure> {
    let queues = match gather(queue).await {
        Ok(queues) => queues,
        Err(error) => return Err(explained(queue, error).await),
    };
    if queues.is_empty() && !queue.name().is_empty() {
        return Err(Failure::failed(format!(
            "there is no queue {}; its first task creates it",
            queue.name()
        )));
    }
    if json {
        return write_json(std::io::stdout().lock(), &json!({ "queues": queues }));
    }
    let mut text = table(queues.iter());
    if queues.len() >= MAX_QUEUES {
        // Writing to a string never fails.
        let _ = writeln!(
            text,
            "the first {MAX_QUEUES} queues; name others to see them"
        );
    }
    print_coloured(&text)
}

async fn gather(queue: &Queue) -> Result<BTreeMap<String, QueueStats>, QueueError> {
    if !queue.name().is_empty() {
        let stats = queue.stats().await?;
        let named = stats.map(|stats| (queue.name().to_owned(), stats));
        return Ok(named.into_iter().collect());
    }
    let (mut queues, mut after) = (BTreeMap::new(), None);
    loop {
        let page = queue.stats_page(after.as_deref(), true).await?;
        queues.extend(page.queues);
        match page.next {
            Some(next) if queues.len() < MAX_QUEUES && Some(&next) > after.as_ref() => {
                after = Some(next);
            }
            _ => return Ok(queues),
        }
    }
}

fn table<'q>(queues: impl Iterator<Item = (&'q String, &'q QueueStats)>) -> String {
    let mut table = Table::new(&[
        ("QUEUE", Align::Left),
        ("READY", Align::Right),
        ("DELAYED", Align::Right),
        ("LEASED", Align::Right),
        ("DEAD", Align::Right),
        ("DONE", Align::Right),
        ("OLDEST", Align::Right),
        ("WAITING WORKERS", Align::Right),
        ("IN/MIN", Align::Right),
        ("DONE/MIN", Align::Right),
        ("FAILED/MIN", Align::Right),
        ("STATE", Align::Left),
    ]);
    for (name, stats) in queues {
        let mut cells = vec![
            plain(name),
            plain(stats.ready),
            plain(stats.delayed),
            plain(stats.leased),
            attention(stats.dead),
            plain(stats.completed),
        ];
        if let Some(detail) = &stats.detail {
            let state = if detail.paused {
                ("paused".to_owned(), Tone::Attention)
            } else if stats.ready > 0 && stats.leased == 0 && detail.waiters == 0 {
                ("no worker".to_owned(), Tone::Attention)
            } else {
                plain("")
            };
            cells.extend([
                plain(time(detail.oldest_ready_ms)),
                plain(detail.waiters),
                plain(detail.enqueued_a_minute),
                plain(detail.completed_a_minute),
                attention(detail.failed_a_minute),
                state,
            ]);
        }
        table.row(cells);
    }
    table.render()
}

/// Prints the busiest queues: once, or on a terminal again whenever the state has changed.
pub(super) async fn top(queue: Queue, refresh: Duration, json: bool) -> Result<(), Failure> {
    let is_live = std::io::stdout().is_terminal() && !json;
    let query = Bytes::from(json!({"stats": {"after": null, "detail": true}}).to_string());
    let options = QueryOptions::default();
    let mut index = None;
    loop {
        let begun = Instant::now();
        let found = match index {
            None => queue.client().query(query.clone(), &options).await,
            // The node holds it back until another entry was applied.
            Some(index) => {
                let client = queue.client();
                client.query_after(query.clone(), index, &options).await
            }
        };
        let page = match found {
            Ok(found) => {
                index = Some(found.index);
                serde_json::from_slice::<StatsPage>(&found.response)
                    .map_err(|error| QueueError::Decode(error.to_string()))
            }
            Err(error) => Err(of_query(error)),
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => return Err(explained(&queue, error).await),
        };
        if json {
            return write_json(std::io::stdout().lock(), &page);
        }
        let text = busiest(&page);
        if !is_live {
            return print_coloured(&text);
        }
        let mut out = anstream::stdout().lock();
        if write!(out, "{CLEAR}{text}")
            .and_then(|()| out.flush())
            .is_err()
        {
            // The reader has closed the output.
            return Ok(());
        }
        drop(out);
        tokio::time::sleep_until(begun + refresh).await;
    }
}

fn of_query(error: oarlock_client::QueryError) -> QueueError {
    match error {
        oarlock_client::QueryError::Refused(body) => QueueError::Decode(format!(
            "it refused the query `stats`: {}",
            String::from_utf8_lossy(&body)
        )),
        error => QueueError::Query(error),
    }
}

/// The queues with most tasks that are not done, then those with most tasks in the last minute.
fn busiest(page: &StatsPage) -> String {
    let mut queues: Vec<_> = page.queues.iter().collect();
    queues.sort_by_key(|(name, stats)| {
        let backlog = stats.ready + stats.leased + stats.delayed;
        let rate = stats
            .detail
            .as_ref()
            .map_or(0, |detail| detail.completed_a_minute);
        (std::cmp::Reverse((backlog, rate)), *name)
    });
    let number = queues.len();
    queues.truncate(TOP);
    let mut text = table(queues.into_iter());
    if number > TOP || page.next.is_some() {
        text.push_str("more queues: `oarlock queue stats`\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> StatsPage {
        serde_json::from_str(text).expect("a page")
    }

    #[test]
    fn the_busiest_queue_is_first_and_what_needs_attention_is_named() {
        let page = page(
            r#"{"queues":{
            "a":{"ready":0,"delayed":0,"leased":0,"dead":2,"completed":9,"waiting":0,"bytes":0,"oldest_ready_ms":0,"waiters":1,
                 "paused":true,"enqueued_a_minute":0,"completed_a_minute":5,"failed_a_minute":0,"failed":0,"expired":0,"removed":0},
            "b":{"ready":3,"delayed":0,"leased":0,"dead":0,"completed":0,"waiting":0,"bytes":0,"oldest_ready_ms":61000,"waiters":0,
                 "paused":false,"enqueued_a_minute":3,"completed_a_minute":0,"failed_a_minute":0,"failed":0,"expired":0,"removed":0}},
            "next":"b"}"#,
        );
        let text = anstream::adapter::strip_str(&busiest(&page)).to_string();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[1],
            [
                "b", "3", "0", "0", "0", "0", "1m", "0", "3", "0", "0", "no", "worker"
            ]
        );
        assert_eq!(
            lines[2],
            [
                "a", "0", "0", "0", "2", "9", "0ms", "1", "0", "5", "0", "paused"
            ]
        );
        assert_eq!(
            text.lines().last(),
            Some("more queues: `oarlock queue stats`")
        );
    }
}
