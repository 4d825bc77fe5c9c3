//! Calls kept during an upgrade, for a new module that is built from the journal.

use crate::rollback::journal::JournalRecord;

/// The calls since [`Self::start`], and their size. The journal may drop them earlier, at a checkpoint.
#[derive(Debug, Default)]
pub(super) struct KeptCalls {
    /// `None`: calls are not kept.
    calls: Option<(Vec<JournalRecord>, u64)>,
}

impl KeptCalls {
    pub(super) fn start(&mut self) {
        self.calls = Some((Vec::new(), 0));
    }

    pub(super) fn stop(&mut self) {
        self.calls = None;
    }

    pub(super) fn push(&mut self, record: &JournalRecord) {
        if let Some((records, bytes)) = &mut self.calls {
            *bytes += record.bytes();
            records.push(record.clone());
        }
    }

    pub(super) fn records(&self) -> &[JournalRecord] {
        self.calls.as_ref().map_or(&[], |(records, _)| records)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.calls.as_ref().map_or(0, |(_, bytes)| *bytes)
    }
}
