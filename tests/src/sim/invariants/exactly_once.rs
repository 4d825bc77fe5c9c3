//! A command that a client has submitted once is applied at most once, also if its reply is lost (§8 requires this of the
//! service; here the driver never submits a command without a client). A command with an idempotency key may be in the log
//! more than once: its replies and the state show that it takes effect once.

use std::collections::BTreeMap;

use task_queue_raft::entry::{Entry, Payload};
use task_queue_raft::ids::LogId;

use crate::sim::machine::MachineKind;
use crate::sim::violation::{Violation, ensure};

/// The entry by which each command was applied.
#[derive(Debug, Default)]
pub(crate) struct ExactlyOnce {
    commands: BTreeMap<u64, LogId>,
}

impl ExactlyOnce {
    /// An entry is applied for the first time anywhere.
    pub(crate) fn see(&mut self, kind: MachineKind, entry: &Entry) -> Result<(), Violation> {
        let Payload::Commands(commands) = &entry.payload else {
            return Ok(());
        };
        let deeds = commands
            .iter()
            .filter_map(|command| kind.read(&command.data));
        for number in deeds.filter(|deed| !deed.keyed).map(|deed| deed.number) {
            let earlier = self.commands.insert(number, entry.id);
            ensure(
                earlier.is_none(),
                "a command is carried out once (§8)",
                || {
                    format!(
                        "command {number} is in entries {earlier:?} and {}",
                        entry.id
                    )
                },
            )?;
        }
        Ok(())
    }
}
