//! Groups: tasks that are followed by another one when all are done.

use serde_json::{Map, Value, json};

use super::produce::{EnqueueCommand, NewGroup};
use super::views::{GroupResponse, GroupStats};
use super::{Queue, QueueError, to_value};

impl Queue {
    /// Begins a group. Its tasks can be of any queue.
    ///
    /// # Errors
    /// See [`QueueError`]; code `out_of_range` if there is a group of this name.
    pub async fn open_group(&self, group: &NewGroup) -> Result<(), QueueError> {
        let mut arguments = Map::new();
        arguments.insert("group".to_owned(), group.name.as_str().into());
        let tasks = [
            ("on_complete", &group.on_complete),
            ("on_dead", &group.on_dead),
        ];
        for (field, task) in tasks {
            if let Some((queue, task)) = task {
                let command = EnqueueCommand { queue, task };
                arguments.insert(field.to_owned(), to_value(&command)?);
            }
        }
        self.done("open_group", &Value::Object(arguments)).await
    }

    /// Ends the addition of tasks to a group.
    ///
    /// # Errors
    /// See [`QueueError`]; code `no_such_group` if it is closed.
    pub async fn close_group(&self, name: &str) -> Result<(), QueueError> {
        self.done("close_group", &json!({"group": name})).await
    }

    /// A group. `None`: it was never opened, or it is complete.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn group(&self, name: &str) -> Result<Option<GroupStats>, QueueError> {
        let response: GroupResponse = self.query("group", &json!({"group": name})).await?;
        Ok(response.group)
    }
}
