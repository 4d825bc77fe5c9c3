//! Messages that must not be sent before a write of this node is durable.

use std::collections::VecDeque;

use crate::raft::ready::{OutgoingMessage, WriteId};

/// Messages that wait for a write, in the order of their writes.
#[derive(Clone, Debug, Default)]
pub struct HeldMessages {
    /// The last write that is durable.
    durable: WriteId,
    held: VecDeque<OutgoingMessage>,
}

impl HeldMessages {
    /// Returns the message if it may be sent now, else keeps it. Beyond `max` messages it is lost, as the network may
    /// lose any.
    pub fn hold(&mut self, message: OutgoingMessage, max: usize) -> Option<OutgoingMessage> {
        if message.after <= self.durable {
            return Some(message);
        }
        if self.held.len() < max {
            self.held.push_back(message);
        }
        None
    }

    /// All writes up to this one are durable.
    pub fn written(&mut self, write: WriteId) {
        self.durable = write;
    }

    /// The next message that may be sent, if any.
    pub fn release(&mut self) -> Option<OutgoingMessage> {
        let durable = self.durable;
        self.held.pop_front_if(|message| message.after <= durable)
    }

    /// The messages that wait, each with the number of writes that must complete before it.
    pub fn waiting(&self) -> impl Iterator<Item = (&OutgoingMessage, WriteId)> {
        let writes = |message: &OutgoingMessage| message.after - self.durable;
        self.held
            .iter()
            .map(move |message| (message, writes(message)))
    }
}
