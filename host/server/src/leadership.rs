//! Who leads, as seen by this node: told only when it changes, unlike the status, which changes with every entry.

use oarlock_wasm::WasmMachine;
use task_queue_raft::types::{NodeId, Term};
use task_queue_raft::{Raft, Status};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The leader, if one is known.
    pub(crate) leader: Option<NodeId>,
    /// In which term.
    pub(crate) term: Term,
    /// It is this node, and it knows what is committed.
    pub(crate) is_own: bool,
}

impl From<&Status> for Leadership {
    fn from(status: &Status) -> Self {
        Self {
            leader: status.leader.clone(),
            term: status.term,
            is_own: status.leads_with_knowledge,
        }
    }
}

/// Follows a node's status, in a task of its own.
pub(crate) fn observe(raft: &Raft<WasmMachine>) -> (watch::Receiver<Leadership>, AbortHandle) {
    let mut status = raft.watch_status();
    let (sender, receiver) = watch::channel(Leadership::from(&*status.borrow()));
    let task = tokio::spawn(async move {
        // It ends with the node.
        while status.changed().await.is_ok() {
            let now = Leadership::from(&*status.borrow_and_update());
            sender.send_if_modified(|before| {
                let news = *before != now;
                *before = now;
                news
            });
        }
    });
    (receiver, task.abort_handle())
}
