//! What a node notes about itself for `GET /v1/doctor`, besides its status.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use task_queue_raft::Leadership;
use tokio::sync::watch;

use crate::history::CounterHistory;
use crate::own_hosts::is_loopback_host;
use crate::process_facts::OpenedDirectory;
use crate::settings::ServeSettings;
use crate::start_limits::GivenLimits;
use crate::wall_clock;

/// The notes of one node.
#[derive(Debug)]
pub(crate) struct Observations {
    /// Counters of the last minutes.
    pub(crate) history: CounterHistory,
    /// The data directory as it was opened.
    pub(crate) directory: OpenedDirectory,
    /// `--max-log-entries`.
    pub(crate) max_log_entries: u64,
    /// `--snapshot-threshold`.
    pub(crate) snapshot_threshold: u64,
    /// Whether only this machine can connect.
    pub(crate) is_loopback_only: bool,
    /// Flags of limits that were set, each with the place where it was set.
    pub(crate) given_limits: GivenLimits,
    elections: AtomicU64,
    /// Whether the data directory was removed or replaced.
    lost: watch::Sender<bool>,
    /// When a backup was last sent to its end; 0: not yet.
    backed_up_at_ms: AtomicU64,
}

impl Observations {
    /// Begins the notes of a node whose data directory exists.
    pub(crate) fn new(settings: &ServeSettings, data_dir: &Path) -> Self {
        let addresses = [&settings.client_addr, &settings.peer_addr];
        Self {
            history: CounterHistory::default(),
            directory: OpenedDirectory::at(data_dir),
            max_log_entries: settings.raft.max_log_entries as u64,
            snapshot_threshold: settings.raft.snapshot_threshold as u64,
            is_loopback_only: addresses
                .iter()
                .all(|address| is_loopback_host(&address.host)),
            given_limits: settings.given_limits.clone(),
            elections: AtomicU64::new(0),
            lost: watch::Sender::new(false),
            backed_up_at_ms: AtomicU64::new(0),
        }
    }

    /// How often a leader was elected, as far as this node knows.
    pub(crate) fn elections(&self) -> u64 {
        self.elections.load(Ordering::Relaxed)
    }

    /// Looks whether the data directory is still at its path. It is lost if it is not there for two looks in a row, so that it can be
    /// exchanged for a moment.
    pub(crate) fn look_at_directory(&self, was_there: bool) -> bool {
        let (is_there, _) = self.directory.look();
        if !is_there && !was_there && !self.is_directory_lost() {
            let data_dir = self.directory.path().display();
            tracing::error!(%data_dir, "the data directory was removed or replaced: this node does not serve any more");
            self.lost.send_replace(true);
        }
        is_there
    }

    /// Whether the data directory is lost.
    pub(crate) fn is_directory_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Waits until the data directory is lost.
    pub(crate) async fn directory_lost(&self) {
        let mut lost = self.lost.subscribe();
        // `self` is the sender, so the channel stays open.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// When a backup was last sent to its end.
    pub(crate) fn backed_up_at_ms(&self) -> Option<u64> {
        match self.backed_up_at_ms.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    /// A backup was sent to its end.
    pub(crate) fn note_backup(&self) {
        let now = wall_clock::now_ms();
        self.backed_up_at_ms.store(now, Ordering::Relaxed);
    }
}

/// Counts elections until the node stops.
pub(crate) async fn count_elections(
    observations: Arc<Observations>,
    mut leadership: watch::Receiver<Leadership>,
) {
    let mut last = None;
    loop {
        {
            let now = leadership.borrow_and_update();
            let elected = now.leader.as_ref().map(|leader| (leader.clone(), now.term));
            if elected.is_some() && elected != last {
                observations.elections.fetch_add(1, Ordering::Relaxed);
                last = elected;
            }
        }
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use task_queue_raft::ids::Term;

    use super::*;
    use crate::settings::cluster::ClusterPeer;
    use crate::settings::{ClusterSpec, GuestSource};

    fn settings(client_addr: &str, peer_addr: &str) -> ServeSettings {
        let member = ClusterPeer {
            node_id: "node1".to_owned(),
            addr: peer_addr.parse().expect("an address"),
        };
        let cluster = ClusterSpec::new(vec![member]).expect("a cluster");
        let client_addr = client_addr.parse().expect("an address");
        let (dir, guest) = ("data".into(), GuestSource::BuiltInQueue);
        ServeSettings::of_cluster(cluster, "node1", client_addr, dir, guest).expect("settings")
    }

    fn notes(client_addr: &str, peer_addr: &str) -> Observations {
        let dir = tempfile::tempdir().expect("a directory");
        Observations::new(&settings(client_addr, peer_addr), dir.path())
    }

    #[test]
    fn a_node_is_reachable_from_elsewhere_by_either_address() {
        assert!(notes("127.0.0.1:1", "localhost:2").is_loopback_only);
        assert!(!notes("10.0.0.1:1", "127.0.0.1:2").is_loopback_only);
        assert!(!notes("127.0.0.1:1", "0.0.0.0:2").is_loopback_only);
    }

    #[tokio::test]
    async fn each_leader_of_a_term_counts_once() {
        let notes = Arc::new(notes("127.0.0.1:1", "127.0.0.1:2"));
        let state = |leader: Option<&str>, term, is_own| Leadership {
            leader: leader.map(Into::into),
            term: Term(term),
            is_own,
        };
        let sender = watch::Sender::new(state(None, 1, false));
        let counting = tokio::spawn(count_elections(Arc::clone(&notes), sender.subscribe()));
        for next in [
            state(Some("node1"), 1, false),
            state(Some("node1"), 1, true),
            state(None, 1, false),
            state(Some("node1"), 1, true),
            state(Some("node2"), 2, false),
        ] {
            sender.send_replace(next);
            // The other task is on the same thread, so it runs while this one yields.
            tokio::task::yield_now().await;
        }
        drop(sender);
        let ended = tokio::time::timeout(Duration::from_secs(60), counting).await;
        ended.expect("it ends").expect("it does not panic");
        assert_eq!(notes.elections(), 2);
    }
}
