//! Tasks that belong together: of one fairness key or ordering key, of a group, and tasks that wait for others.

use oarlock_guest::Refusal;

use crate::draft::NewTask;
use crate::groups::Group;
use crate::limits::MAX_GROUPS;
use crate::messages::{OpenGroup, Reply};
use crate::policy::Policy;
use crate::refuse::{check_name, no_such_group, out_of_range, too_many};
use crate::state::Queues;
use crate::task::{Place, Task};

impl<P: Policy> Queues<P> {
    /// Takes a task that is in no index out of its line. The next one of the line may be delivered.
    pub(crate) fn leave(&mut self, id: u64, now_ms: u64) {
        let task = &self.tasks[id];
        let Some(key) = task.ordering_key() else {
            return;
        };
        let lines = &mut self.queues[task.queue as usize].lines;
        let Some(line) = lines.get_mut(key) else {
            return;
        };
        if line.head != id {
            line.waiting.remove(&id);
        } else if let Some(next) = line.waiting.pop_first() {
            line.head = next;
            self.admit(next, now_ms);
        } else {
            lines.remove(key);
        }
    }

    /// Lets the tasks go on that waited for a task: they are dead if it was removed.
    pub(crate) fn release_dependents(&mut self, id: u64, now_ms: u64, is_done: bool) {
        for dependent in self.dependents.remove(&id).unwrap_or_default() {
            let Some(task) = self.tasks.get_mut(dependent) else {
                continue;
            };
            task.extra_mut().waits_for.retain(|&before| before != id);
            if is_done {
                self.admit(dependent, now_ms);
            } else if task.place() == Place::Waiting {
                let error = format!("task {id}, for which it waited, was removed");
                task.add_failure(now_ms, "", &error);
                self.die(dependent, now_ms, false);
            }
        }
    }

    /// Forgets that a task waits for others.
    pub(crate) fn forget_waits(&mut self, id: u64, task: &Task) {
        for before in task
            .extra()
            .map(|extra| extra.waits_for.clone())
            .unwrap_or_default()
        {
            if let Some(dependents) = self.dependents.get_mut(&before) {
                dependents.remove(&id);
                if dependents.is_empty() {
                    self.dependents.remove(&before);
                }
            }
        }
    }

    pub(crate) fn open_group(&mut self, command: OpenGroup) -> Result<Reply, Refusal> {
        check_name("group", &command.group)?;
        if self.groups.contains_key(command.group.as_str()) {
            return Err(out_of_range(
                "group",
                format!("group {} is there already", command.group),
            ));
        }
        if self.groups.len() >= MAX_GROUPS {
            return Err(too_many("group", "groups", MAX_GROUPS));
        }
        let callback = |field: &str, task: Option<crate::messages::Enqueue>| {
            let task = task.map(|task| NewTask::new(task, &[])).transpose()?;
            if let Some(task) = &task {
                task.check()?;
                if task.group.is_some() || !task.after.is_empty() {
                    let text = "a task that a group adds has no group and waits for no task";
                    return Err(out_of_range(field, text));
                }
                self.check_room_for_queue(&task.queue)?;
            }
            Ok(task.map(Box::new))
        };
        let group = Group {
            is_open: true,
            pending: 0,
            dead: 0,
            done: 0,
            on_complete: callback("on_complete", command.on_complete)?,
            on_dead: callback("on_dead", command.on_dead)?,
        };
        self.groups.insert(command.group.into(), group);
        Ok(Reply::Done {})
    }

    pub(crate) fn close_group(&mut self, now_ms: u64, name: &str) -> Result<Reply, Refusal> {
        let group = self
            .groups
            .get_mut(name)
            .filter(|group| group.is_open)
            .ok_or_else(|| no_such_group(name))?;
        group.is_open = false;
        self.complete_group(name, now_ms);
        Ok(Reply::Done {})
    }

    /// Adds the last task of a group that is closed and has no task left.
    fn complete_group(&mut self, name: &str, now_ms: u64) {
        let is_complete = self
            .groups
            .get(name)
            .is_some_and(|group| !group.is_open && group.pending == 0);
        if is_complete
            && let Some(group) = self.groups.remove(name)
            && let Some(task) = group.on_complete
        {
            self.add(*task, now_ms);
        }
    }

    /// Counts a death in the task's group, and adds the group's task for it, once.
    pub(crate) fn note_death(&mut self, id: u64, now_ms: u64) {
        let Some(group) = self.group_of(id) else {
            return;
        };
        group.dead += 1;
        if let Some(task) = group.on_dead.take() {
            self.add(*task, now_ms);
        }
    }

    /// Counts a dead task of a group that is returned.
    pub(crate) fn note_return(&mut self, id: u64) {
        if let Some(group) = self.group_of(id) {
            group.dead -= 1;
        }
    }

    fn group_of(&mut self, id: u64) -> Option<&mut Group> {
        let name = self.tasks[id].extra()?.group.as_ref()?;
        self.groups.get_mut(name)
    }

    /// Counts a task of a group that is done or removed.
    pub(crate) fn end_group(&mut self, task: &Task, now_ms: u64) {
        let Some(name) = task.extra().and_then(|extra| extra.group.clone()) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&name) {
            group.pending -= 1;
            group.done += 1;
            group.dead -= u64::from(task.place() == Place::Dead);
        }
        self.complete_group(&name, now_ms);
    }
}
