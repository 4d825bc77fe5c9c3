//! The limits of a starting node, and how they relate to the settings of its cluster.
//!
//! At cluster level 0 the node's own flags apply. From level 1 on the settings in the log do, and a flag that differs is
//! a warning. The file `limits.json` in the data directory keeps what the node needs before it has read its log:
//! the settings under which it loads its module, and the flags under which it applied entries at level 0. A node that
//! restarts with other flags after the level was raised executes those entries as before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use oarlock_wasm::{
    GuestSemantics, MachineLimits, ReplicatedSettings, SettingDifference, SettingsFault,
    StatusHandle,
};
use serde::{Deserialize, Serialize};

use crate::file_writes::FileWrites;
use crate::upgrades::UpgradeWatch;

const FILE: &str = "limits.json";
/// The file is written under this name and then renamed.
const TEMPORARY: &str = "limits.json.new";

/// The content of the file, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// The node's limits at level 0, encoded as settings.
    own: Vec<u8>,
    /// The latest settings of the cluster that the node has applied; null at level 0.
    cluster: Option<Vec<u8>>,
}

/// The limits with which a node starts.
#[derive(Clone, Debug)]
pub(crate) struct StartLimits {
    /// For entries before the cluster has settings.
    pub(crate) machine: MachineLimits,
    /// For loading the module.
    pub(crate) load: MachineLimits,
    file: PathBuf,
}

impl StartLimits {
    /// The limits of a node with these flags. `is_new`: its directory has no log yet.
    ///
    /// # Errors
    /// This program can't apply the settings of the cluster.
    pub(crate) fn read(
        data_dir: &Path,
        flags: &MachineLimits,
        is_new: bool,
    ) -> Result<Self, SettingsFault> {
        let file = data_dir.join(FILE);
        let content = if is_new { None } else { stored(&file) };
        let load = |semantics| MachineLimits {
            semantics,
            ..*flags
        };
        let (machine, load) = match content {
            // A new node probably joins or begins a cluster at the latest level. If not, its module is compiled again.
            None if is_new => (*flags, load(GuestSemantics::LATEST)),
            None | Some(Content { cluster: None, .. }) => (*flags, load(flags.semantics)),
            Some(Content {
                own,
                cluster: Some(cluster),
            }) => {
                let cluster = ReplicatedSettings::decode(&cluster)?;
                let own = ReplicatedSettings::decode(&own)?.limits_on(flags);
                let semantics = flags.semantics;
                (MachineLimits { semantics, ..own }, cluster.limits_on(flags))
            }
        };
        Ok(Self {
            machine,
            load,
            file,
        })
    }
}

/// The limits for loading a module that only new clusters run, with default settings.
pub(crate) fn of_new_cluster() -> MachineLimits {
    MachineLimits {
        semantics: GuestSemantics::LATEST,
        ..MachineLimits::default()
    }
}

/// The content of the file. A file that can't be read is ignored: the log has the settings as well.
fn stored(file: &Path) -> Option<Content> {
    let content = match fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(error),
    };
    content
        .inspect_err(|error| {
            tracing::warn!(%error, file = %file.display(), "cannot read the limits of earlier starts, the flags apply");
        })
        .ok()
}

fn store(file: &Path, content: &Content) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let temporary = dir.join(TEMPORARY);
    let mut to = File::create(&temporary)?;
    to.write_all(&serde_json::to_vec(content)?)?;
    to.sync_all()?;
    fs::rename(&temporary, file)?;
    File::open(dir)?.sync_all()
}

/// Flags of limits that were set, each with the place where it was set.
pub(crate) type GivenLimits = BTreeMap<&'static str, String>;

/// Stores each change of the settings, and warns of flags that differ once the settings are known. Until the node stops.
pub(crate) async fn run(
    machine: StatusHandle,
    mut changes: UpgradeWatch,
    limits: StartLimits,
    flags: MachineLimits,
    given: GivenLimits,
    writes: FileWrites,
) {
    let own = ReplicatedSettings::proposed(&limits.machine)
        .encode()
        .to_vec();
    let mut before = None;
    let mut has_warned = false;
    loop {
        changes.mark_unchanged();
        let settings = machine.settings();
        if let Some(settings) = settings.as_ref().filter(|_| !has_warned) {
            has_warned = true;
            for warning in warnings(&settings.differences(&flags), &given) {
                tracing::warn!("{warning}");
            }
        }
        let cluster = settings.map(|settings| settings.encode().to_vec());
        if before.as_ref() != Some(&cluster) {
            let content = Content {
                own: own.clone(),
                cluster: cluster.clone(),
            };
            let file = limits.file.clone();
            let stored = writes.run(move || store(&file, &content)).await;
            if let Ok(Err(error)) = stored {
                tracing::error!(%error, "cannot store the limits of this node in its data directory");
            }
        }
        before = Some(cluster);
        if !changes.changed().await {
            return;
        }
    }
}

/// One warning for each flag that was set to another value than the cluster's.
fn warnings(differences: &[SettingDifference], given: &GivenLimits) -> Vec<String> {
    let differences = differences.iter().filter_map(|difference| {
        let origin = given.get(difference.flag?)?;
        let SettingDifference {
            name, own, cluster, ..
        } = difference;
        Some(format!(
            "{origin} is {own}, but the cluster's setting `{name}` is {cluster}, which applies; remove the flag, or change \
             the setting with `oarlock settings set {name}={own}`"
        ))
    });
    differences.collect()
}

#[cfg(test)]
mod tests;
