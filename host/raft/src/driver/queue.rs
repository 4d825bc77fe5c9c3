//! Commands that wait to be proposed or forwarded, by class. Commands of later classes are taken first.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::entry::{Command, CommandClass};

/// The classes in the order in which their commands are taken.
const ORDER: [CommandClass; 3] = [
    CommandClass::Control,
    CommandClass::Report,
    CommandClass::Client,
];

/// The queued commands of one class, oldest first.
#[derive(Default)]
struct ClassQueue {
    commands: VecDeque<Command>,
    bytes: u64,
}

/// The queued commands.
pub(super) struct CommandQueue {
    class_of: fn(&Bytes) -> CommandClass,
    /// In the order of [`ORDER`].
    classes: [ClassQueue; 3],
}

impl CommandQueue {
    pub(super) fn new(class_of: fn(&Bytes) -> CommandClass) -> Self {
        Self {
            class_of,
            classes: Default::default(),
        }
    }

    /// The class of a command.
    pub(super) fn class_of(&self, data: &Bytes) -> CommandClass {
        (self.class_of)(data)
    }

    pub(super) fn push(&mut self, command: Command) {
        let class = self.class_of(&command.data);
        let queue = &mut self.classes[position(class)];
        queue.bytes += command.data.len() as u64;
        queue.commands.push_back(command);
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has(CommandClass::Client)
    }

    /// Whether a command of this class or a later one is queued.
    pub(super) fn has(&self, least: CommandClass) -> bool {
        let mut classes = self.classes[..=position(least)].iter();
        classes.any(|queue| !queue.commands.is_empty())
    }

    /// Commands of all classes.
    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|queue| queue.commands.len()).sum()
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.classes.iter().map(|queue| queue.bytes).sum()
    }

    /// Commands of one class, and their bytes.
    pub(super) fn size_of(&self, class: CommandClass) -> (usize, u64) {
        let queue = &self.classes[position(class)];
        (queue.commands.len(), queue.bytes)
    }

    /// The next command of this class or a later one.
    pub(super) fn front(&self, least: CommandClass) -> Option<&Command> {
        let mut classes = self.classes[..=position(least)].iter();
        classes.find_map(|queue| queue.commands.front())
    }

    /// Removes what [`Self::front`] returns.
    pub(super) fn pop(&mut self, least: CommandClass) -> Option<Command> {
        let mut classes = self.classes[..=position(least)].iter_mut();
        classes.find_map(|queue| {
            let command = queue.commands.pop_front()?;
            queue.bytes -= command.data.len() as u64;
            Some(command)
        })
    }

    /// Removes the commands that `leaves`, and returns them in the order of their classes.
    pub(super) fn take_if(&mut self, leaves: impl Fn(&Command) -> bool) -> Vec<Command> {
        let mut taken = Vec::new();
        for queue in &mut self.classes {
            if !queue.commands.iter().any(&leaves) {
                continue;
            }
            let all = std::mem::take(&mut queue.commands);
            let (left, kept) = all.into_iter().partition(&leaves);
            queue.commands = kept;
            taken.extend::<VecDeque<Command>>(left);
            let sizes = queue.commands.iter();
            queue.bytes = sizes.map(|command| command.data.len() as u64).sum();
        }
        taken
    }

    pub(super) fn clear(&mut self) {
        self.classes = Default::default();
    }
}

fn position(class: CommandClass) -> usize {
    ORDER.iter().take_while(|other| **other != class).count()
}
