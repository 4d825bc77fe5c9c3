//! Wake-ups: the guest wants the next one at the time of its earliest alarm, and none comes before its time.

use std::collections::BTreeMap;

use crate::sim::machine::AlarmDeed;

/// Most alarms that ring in one wake-up.
const MOST: usize = 256;

/// The alarms that are set after an entry, as a correct guest has them.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    due_ms: BTreeMap<String, u64>,
}

impl Alarms {
    /// Carries out what a command is to do, at the time of its entry.
    pub(crate) fn take(&mut self, time_ms: u64, deed: AlarmDeed, command_bytes: Option<u64>) {
        match deed {
            AlarmDeed::Set { bytes, .. } if command_bytes.is_some_and(|most| bytes > most) => {}
            AlarmDeed::Set { name, delay_ms, .. } => {
                self.due_ms.insert(name, time_ms + delay_ms);
            }
            AlarmDeed::Ring => {
                let due = |due: &(&String, &u64)| *due.1 <= time_ms;
                let mut ring: Vec<_> = self.due_ms.iter().filter(due).collect();
                ring.sort_by_key(|(name, due)| (**due, (*name).clone()));
                let ring: Vec<String> = ring
                    .into_iter()
                    .take(MOST)
                    .map(|(name, _)| name.clone())
                    .collect();
                for name in ring {
                    self.due_ms.remove(&name);
                }
            }
        }
    }

    /// When the guest wants to be woken; 0: never.
    pub(crate) fn wake_at_ms(&self) -> u64 {
        self.due_ms.values().min().copied().unwrap_or(0)
    }
}
