//! What operators do to a cluster besides changing its members, and what happens to its guests: other flags at a restart, changed
//! settings, upgrades, audits, corrupt memory, other clusters with the same names. Whether a seed's run has it is drawn by a generator of its own, so that the rest
//! of the seed's profile does not depend on it.

use super::machine::MachineKind;
use super::planted::Planted;
use super::rng::Rng;

/// Which of them a run has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dimensions {
    /// A node that restarts may have other flags than before.
    pub(crate) flags: bool,
    /// The settings of the cluster are changed.
    pub(crate) settings: bool,
    /// The guest is upgraded.
    pub(crate) upgrades: bool,
    /// The nodes compare their states.
    pub(crate) audits: bool,
    /// The memory of a guest becomes corrupt. Then the nodes compare their states.
    pub(crate) corruption: bool,
    /// Nodes of another cluster with the same names call.
    pub(crate) foreign_nodes: bool,
    /// Alarms of the guest are set.
    pub(crate) alarms: bool,
}

impl Dimensions {
    /// The dimensions of a seed's run.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x00d1_3e45);
        let flags = rng.chance(300);
        let (settings, upgrades) = (rng.chance(500), rng.chance(400));
        let (audits, corruption) = (rng.chance(500), rng.chance(250));
        let foreign_nodes = rng.chance(250);
        let alarms = rng.chance(500);
        Self {
            flags,
            settings,
            upgrades,
            audits: audits || corruption,
            corruption,
            foreign_nodes,
            alarms,
        }
    }

    /// Only a guest has settings, upgrades and audits, and only a cluster that begins at level 1 has a lineage from the start.
    /// `levels`: the cluster begins at level 1 or may be raised to it.
    pub(crate) fn fit(&mut self, machine: MachineKind, has_lineage: bool, levels: bool) {
        self.foreign_nodes &= has_lineage;
        self.corruption &= levels;
        if machine != MachineKind::Guest {
            *self = Self {
                flags: self.flags,
                foreign_nodes: self.foreign_nodes,
                ..Self::default()
            };
        }
    }

    /// Whether there is something to do for operators, or foreign nodes call.
    pub(crate) fn has_operators(self) -> bool {
        self.settings || self.upgrades || self.corruption || self.foreign_nodes || self.alarms
    }

    /// What a planted fault needs to be seen.
    pub(crate) fn suit(&mut self, planted: Planted) {
        match planted {
            Planted::LeaseLengthForgotten => self.flags = true,
            Planted::SettingsFromFlags => {
                self.flags = true;
                self.corruption = false;
            }
            Planted::OneNodeMissesSettings => {
                self.settings = true;
                self.corruption = false;
            }
            Planted::OneNodeKeepsItsModule | Planted::UpgradeNeverEnds => {
                self.upgrades = true;
                self.corruption = false;
            }
            _ if planted.is_of_audits() => (self.audits, self.corruption) = (true, true),
            Planted::LineageNotChecked => self.foreign_nodes = true,
            _ if planted.is_of_alarms() => self.alarms = true,
            _ => {}
        }
    }
}
