//! Wake-ups: the guest wants the next one at the time of its earliest alarm, and no alarm rings before its time. A wake-up that comes
//! late may ring only some of what is due (`guest-sdk`, module `runtime`): the others ring in the next one.

use std::collections::BTreeMap;

use crate::sim::machine::AlarmDeed;

/// The alarms of a correct guest.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    /// Those that no wake-up can have rung, with their times.
    set_ms: BTreeMap<String, u64>,
    /// Times of those that are due at a wake-up, and may be left to the next one.
    left_ms: Vec<u64>,
}

/// When a correct guest may want to be woken.
#[derive(Debug, Default)]
pub(crate) struct ExpectedWake {
    left_ms: Vec<u64>,
    /// 0: never.
    next_ms: u64,
}

impl ExpectedWake {
    /// Whether the guest is right.
    pub(crate) fn allows(&self, wake_at_ms: u64) -> bool {
        wake_at_ms == self.next_ms || self.left_ms.contains(&wake_at_ms)
    }
}

impl Alarms {
    /// Carries out what a command is to do, at the time of its entry.
    pub(crate) fn take(&mut self, time_ms: u64, deed: AlarmDeed, command_bytes: Option<u64>) {
        match deed {
            AlarmDeed::Set { bytes, .. } if command_bytes.is_some_and(|most| bytes > most) => {}
            AlarmDeed::Set { name, delay_ms, .. } => {
                self.set_ms.insert(name, time_ms + delay_ms);
            }
            AlarmDeed::Ring => {
                let due = self.set_ms.extract_if(.., |_, due| *due <= time_ms);
                self.left_ms.extend(due.map(|(_, due)| due));
            }
        }
    }

    /// A correct guest wants to be woken at this time now or did before: all earlier alarms have rung.
    pub(crate) fn see(&mut self, wake_at_ms: u64) {
        self.left_ms
            .retain(|left| wake_at_ms != 0 && *left >= wake_at_ms);
    }

    /// When the guest may want to be woken now.
    pub(crate) fn expected(&self) -> ExpectedWake {
        ExpectedWake {
            left_ms: self.left_ms.clone(),
            next_ms: self.set_ms.values().min().copied().unwrap_or(0),
        }
    }
}
