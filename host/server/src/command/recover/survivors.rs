//! The directories that have survived the loss of a majority: what each contains, which one is best, and what may be lost.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use task_queue_raft::storage::StoreState;
use task_queue_raft::storage::survivor::Survivor;

use crate::cli::RecoverArgs;
use crate::command::output::{print_coloured, print_safely, write_json};
use crate::command::table::{Align, Table, Tone};
use crate::exit::Failure;
use crate::quarantine::record::QuarantineRecord;

/// A directory, and what it contains.
pub(super) struct SurvivingDir {
    pub(super) path: PathBuf,
    /// What it contains, or why it can't be used.
    content: Result<SurvivingNode, String>,
}

/// What a directory contains that can be used.
pub(super) struct SurvivingNode {
    pub(super) survivor: Survivor,
    /// An audit has found that the state of the node differs from that of a majority.
    is_quarantined: bool,
}

/// The directories that the operator has named.
pub(super) struct SurvivingDirs {
    dirs: Vec<SurvivingDir>,
    /// The place of the best one.
    best: Option<usize>,
}

/// Shows the directories.
///
/// # Errors
/// They are of different clusters, or none can be used.
pub(super) fn show(args: &RecoverArgs) -> Result<(), Failure> {
    let dirs = SurvivingDirs::read(args)?;
    if args.output.json {
        return write_json(std::io::stdout().lock(), &dirs.json());
    }
    print_coloured(&dirs.text())
}

impl SurvivingDir {
    fn read(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            content: SurvivingNode::read(path),
        }
    }

    fn node(&self) -> Option<&SurvivingNode> {
        self.content.as_ref().ok()
    }

    fn name(&self) -> String {
        print_safely(&self.path.display().to_string()).into_owned()
    }
}

impl SurvivingNode {
    fn read(path: &Path) -> Result<Self, String> {
        let survivor = Survivor::read(path).map_err(|error| error.to_string())?;
        let survivor = survivor.ok_or("it contains no log; pass the data directory of a node")?;
        let record = QuarantineRecord::read(path).map_err(|error| error.to_string())?;
        Ok(Self {
            survivor,
            is_quarantined: record.is_quarantined(),
        })
    }

    /// Whether this one is to be preferred: its state is right, and its log is ahead (Raft paper, §5.4.1).
    fn is_better_than(&self, other: &Self) -> bool {
        if self.is_quarantined == other.is_quarantined {
            self.survivor.is_ahead_of(&other.survivor)
        } else {
            other.is_quarantined
        }
    }

    fn note(&self, is_best: bool) -> (String, Tone) {
        let mut notes = Vec::new();
        if is_best {
            notes.push("best");
        }
        if self.is_quarantined {
            notes.push("its state differs from the majority's (quarantine)");
        }
        if self.survivor.state != StoreState::Complete {
            notes.push("it had lost its disk and not rejoined yet");
        }
        let tone = if is_best { Tone::Good } else { Tone::Attention };
        (notes.join("; "), tone)
    }
}

impl SurvivingDirs {
    /// Reads all directories.
    ///
    /// # Errors
    /// They are of different clusters.
    pub(super) fn read(args: &RecoverArgs) -> Result<Self, Failure> {
        let first = args.storage.data_dir.as_path();
        let others = args.survivors.iter().map(PathBuf::as_path);
        let others = others.filter(|other| *other != first);
        let dirs = std::iter::once(first).chain(others);
        Self::of(dirs.map(SurvivingDir::read).collect())
    }

    fn of(dirs: Vec<SurvivingDir>) -> Result<Self, Failure> {
        let mut best: Option<usize> = None;
        for (place, dir) in dirs.iter().enumerate() {
            let Some(node) = dir.node() else { continue };
            let Some((before, held)) = best.and_then(|best| Some((best, dirs[best].node()?)))
            else {
                best = Some(place);
                continue;
            };
            if node.survivor.identity.cluster_id != held.survivor.identity.cluster_id
                || node.survivor.cluster.lineage != held.survivor.cluster.lineage
            {
                return Err(Failure::failed(format!(
                    "{} and {} are of different clusters; nothing was changed. Name only directories of one cluster",
                    dirs[before].name(),
                    dir.name()
                )));
            }
            if node.is_better_than(held) {
                best = Some(place);
            }
        }
        Ok(Self { dirs, best })
    }

    /// The best directory.
    ///
    /// # Errors
    /// None can be used.
    pub(super) fn best(&self) -> Result<(&SurvivingDir, &SurvivingNode), Failure> {
        let best = self.best.map(|best| &self.dirs[best]);
        let found = best.and_then(|best| Some((best, best.node()?)));
        found.ok_or_else(|| {
            let mut text = "none of these directories can be used; nothing was changed".to_owned();
            for dir in &self.dirs {
                if let Err(error) = &dir.content {
                    // Writing to a string never fails.
                    let _ = write!(text, "\n  {}: {error}", dir.name());
                }
            }
            Failure::failed(text)
        })
    }

    /// Whether these directories are a majority of the voters, so that their nodes need only be started.
    pub(super) fn are_majority(&self) -> bool {
        let (here, voters) = self.voters();
        2 * here > voters
    }

    /// How many voters of the latest configuration are here, and how many there are.
    fn voters(&self) -> (usize, usize) {
        let nodes = || self.dirs.iter().filter_map(SurvivingDir::node);
        let latest = nodes().max_by_key(|node| node.survivor.last);
        let membership = latest.and_then(|node| node.survivor.membership.as_ref());
        let Some(membership) = membership else {
            return (0, 0);
        };
        let is_here = |id: &&task_queue_raft::ids::NodeId| {
            nodes().any(|node| node.survivor.identity.node_id == **id)
        };
        (
            membership.voters().filter(is_here).count(),
            membership.voters().count(),
        )
    }

    /// What may be lost with the best directory.
    pub(super) fn loss(&self) -> String {
        let (here, voters) = self.voters();
        let missing = voters.saturating_sub(here);
        let last = self.best.and_then(|best| self.dirs[best].node());
        let last = last.map_or(0, |node| node.survivor.last.index.0);
        if self.are_majority() {
            return format!(
                "{here} of {voters} voters are here, a majority: start their nodes, and nothing is lost."
            );
        }
        format!(
            "{here} of {voters} voters are here. A command after entry {last} is lost if its client got a reply and only the other {missing} have it. \
             The last entries here may be of commands whose clients got no reply: they are executed."
        )
    }

    fn text(&self) -> String {
        let mut table = Table::new(&[
            ("DIRECTORY", Align::Left),
            ("NODE", Align::Left),
            ("LAST TERM", Align::Right),
            ("LAST ENTRY", Align::Right),
            ("SNAPSHOT", Align::Right),
            ("", Align::Left),
        ]);
        for (place, dir) in self.dirs.iter().enumerate() {
            table.row(dir.row(self.best == Some(place)));
        }
        let mut text = table.render();
        if table.has_cut_cells() {
            text.push_str("some cells are cut (…); --json prints them in full\n");
        }
        text.push('\n');
        text.push_str(&self.loss());
        text.push('\n');
        if let (Some(best), false) = (self.best, self.are_majority()) {
            text.push_str(&format!(
                "Next, if the other nodes are gone for good:\n  oarlock recover --data-dir {} --into NEW_DIRECTORY\n",
                self.dirs[best].name()
            ));
        }
        text
    }

    fn json(&self) -> Value {
        let (here, voters) = self.voters();
        let dirs: Vec<Value> = self.dirs.iter().map(SurvivingDir::json).collect();
        json!({
            "survivors": dirs,
            "best": self.best.map(|best| self.dirs[best].path.display().to_string()),
            "voters": voters,
            "voters_here": here,
            "loss": self.loss(),
        })
    }
}

impl SurvivingDir {
    /// Its row of the table.
    fn row(&self, is_best: bool) -> Vec<(String, Tone)> {
        let plain = |text: String| (text, Tone::Plain);
        let mut row = vec![plain(self.name())];
        match &self.content {
            Ok(node) => {
                let Survivor {
                    identity,
                    last,
                    snapshot,
                    ..
                } = &node.survivor;
                let covered = snapshot.as_ref().map(|meta| meta.last.index.to_string());
                row.push(plain(print_safely(identity.node_id.as_str()).into_owned()));
                row.push(plain(last.term.to_string()));
                row.push(plain(last.index.to_string()));
                row.push(plain(covered.unwrap_or_default()));
                row.push(node.note(is_best));
            }
            Err(error) => {
                row.resize(5, plain(String::new()));
                row.push((print_safely(error).into_owned(), Tone::Bad));
            }
        }
        row
    }

    fn json(&self) -> Value {
        let data_dir = self.path.display().to_string();
        match &self.content {
            Err(error) => json!({ "data_dir": data_dir, "error": error }),
            Ok(node) => {
                let survivor = &node.survivor;
                let snapshot = survivor.snapshot.as_ref();
                json!({
                    "data_dir": data_dir,
                    "node_id": survivor.identity.node_id.as_str(),
                    "cluster_id": survivor.identity.cluster_id,
                    "lineage": survivor.cluster.lineage.to_string(),
                    "level": survivor.cluster.level,
                    "term": survivor.term.0,
                    "last_term": survivor.last.term.0,
                    "last_entry": survivor.last.index.0,
                    "snapshot": snapshot.map(|meta| meta.last.index.0),
                    "is_complete": survivor.state == StoreState::Complete,
                    "is_quarantined": node.is_quarantined,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
