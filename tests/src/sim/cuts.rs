//! Parts of a seed's run that are omitted, so that a failure has a shorter trace.
//!
//! A cut is a part of the run's configuration like its seed: the same seed with the same cuts gives the same run.
//! What a profile draws is drawn before anything is cut, so a cut changes only what it names, and what follows from it.

use std::time::Duration;

use super::machine::MachineKind;
use super::profile::{FaultKind, Profile};

/// Something that a run may do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A kind of fault of the storm.
    Fault(FaultKind),
    /// Messages that are lost by chance.
    Losses,
    /// Messages that arrive twice.
    Doubles,
    /// Messages that are very late, or come again after a cut.
    Delays,
    /// Turns of the driver that a crash cuts in two.
    TornTurns,
    /// Clocks that differ.
    Skew,
    /// Clocks that run at different speeds.
    Drift,
    /// Leases of leaders.
    Leases,
    /// Flags that are changed at a restart.
    Flags,
    /// Changes of settings.
    Settings,
    /// Upgrades of the guest.
    Upgrades,
    /// Audits of the states.
    Audits,
    /// Memory of guests that becomes corrupt.
    Corruption,
    /// Nodes of another cluster with the same names.
    ForeignNodes,
    /// Nodes that wait to be added.
    Spares,
    /// Pauses of the storm.
    Lulls,
    /// Queries.
    Reads,
    /// The wasm guest: the nodes have the list in its place.
    Guest,
    /// The database: the nodes have their log in memory.
    Database,
}

impl Part {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let others = [
            Self::Losses,
            Self::Doubles,
            Self::Delays,
            Self::TornTurns,
            Self::Skew,
            Self::Drift,
            Self::Leases,
            Self::Flags,
            Self::Settings,
            Self::Upgrades,
            Self::Audits,
            Self::Corruption,
            Self::ForeignNodes,
            Self::Spares,
            Self::Lulls,
            Self::Reads,
            Self::Guest,
            Self::Database,
        ];
        let faults = FaultKind::ALL.iter().copied().map(Self::Fault);
        faults.chain(others).collect()
    }

    /// What it is called on the command line.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Fault(kind) => format!("{kind:?}"),
            other => format!("{other:?}"),
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// Where there is none; it lists those that there are.
    pub fn of_name(name: &str) -> Result<Self, String> {
        let all = Self::all();
        let found = all.iter().find(|part| part.name() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = all.into_iter().map(Self::name).collect();
            format!("{name:?} is none of {}", names.join(", "))
        })
    }

    /// Whether a run of this profile has it.
    fn is_in(self, profile: &Profile) -> bool {
        let network = &profile.network;
        match self {
            Self::Fault(kind) => profile.faults.contains(&kind),
            Self::Losses => network.drop_per_mille > 0,
            Self::Doubles => network.duplicate_per_mille > 0,
            Self::Delays => network.late_per_mille + network.resend_per_mille > 0,
            Self::TornTurns => profile.torn_turns_per_mille > 0,
            Self::Skew => profile.clock_skew_ms > 0,
            Self::Drift => profile.drift_percent > 0,
            Self::Leases => profile.lease_drift_percent.is_some(),
            Self::Flags => profile.dimensions.flags,
            Self::Settings => profile.dimensions.settings,
            Self::Upgrades => profile.dimensions.upgrades,
            Self::Audits => profile.dimensions.audits,
            Self::Corruption => profile.dimensions.corruption,
            Self::ForeignNodes => profile.dimensions.foreign_nodes,
            Self::Spares => profile.spares > 0,
            Self::Lulls => profile.lulls > 0,
            Self::Reads => profile.reads_per_mille > 0,
            Self::Guest => profile.machine == MachineKind::Guest,
            Self::Database => profile.database,
        }
    }

    fn cut(self, profile: &mut Profile) {
        let network = &mut profile.network;
        match self {
            Self::Fault(kind) => profile.faults.retain(|other| *other != kind),
            Self::Losses => network.drop_per_mille = 0,
            Self::Doubles => network.duplicate_per_mille = 0,
            Self::Delays => (network.late_per_mille, network.resend_per_mille) = (0, 0),
            Self::TornTurns => profile.torn_turns_per_mille = 0,
            Self::Skew => profile.clock_skew_ms = 0,
            Self::Drift => profile.drift_percent = 0,
            Self::Leases => profile.lease_drift_percent = None,
            Self::Flags => profile.dimensions.flags = false,
            Self::Settings => profile.dimensions.settings = false,
            Self::Upgrades => profile.dimensions.upgrades = false,
            Self::Audits => profile.dimensions.audits = false,
            Self::Corruption => profile.dimensions.corruption = false,
            Self::ForeignNodes => profile.dimensions.foreign_nodes = false,
            Self::Spares => profile.spares = 0,
            Self::Lulls => profile.lulls = 0,
            Self::Reads => profile.reads_per_mille = 0,
            Self::Guest => profile.machine = MachineKind::List,
            Self::Database => profile.database = false,
        }
    }
}

/// The omitted parts of a run. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// How many clients, instead of the seed's choice.
    pub clients: Option<usize>,
    /// The storm ends after so many milliseconds.
    pub storm_ms: Option<u64>,
    /// The storm has so many faults, and no more.
    pub faults: Option<u64>,
    /// These are left out.
    pub without: Vec<Part>,
}

impl Cuts {
    /// What a profile is like with these cuts.
    pub(crate) fn apply(&self, profile: &mut Profile) {
        if let Some(clients) = self.clients {
            profile.clients = clients;
        }
        if let Some(storm_ms) = self.storm_ms {
            profile.storm = profile.storm.min(Duration::from_millis(storm_ms));
        }
        for part in &self.without {
            part.cut(profile);
        }
    }

    /// The same as arguments of the command line.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let flag = |name: &str, value: Option<u64>| {
            value.map(|value| [format!("--{name}"), value.to_string()])
        };
        let numbers = [
            flag("clients", self.clients.map(|clients| clients as u64)),
            flag("storm-ms", self.storm_ms),
            flag("faults", self.faults),
        ];
        let mut args: Vec<String> = numbers.into_iter().flatten().flatten().collect();
        if !self.without.is_empty() {
            let names: Vec<_> = self.without.iter().map(|part| part.name()).collect();
            args.extend(["--without".to_owned(), names.join(",")]);
        }
        args
    }

    /// What could still be left out of a run of this profile, one thing each: the most first.
    pub(crate) fn further(&self, profile: &Profile, faults: u64, at: Duration) -> Vec<Self> {
        let mut found = Vec::new();
        // The last fault is often the one that matters, and all of its kind: so from both ends.
        for fewer in [0, faults / 2, faults * 3 / 4, faults.saturating_sub(1)] {
            if fewer < faults && self.faults.is_none_or(|now| fewer < now) {
                found.push(Self {
                    faults: Some(fewer),
                    ..self.clone()
                });
            }
        }
        let storm = profile.storm.min(at);
        for shorter in [storm / 4, storm / 2, storm * 3 / 4, storm] {
            let storm_ms = u64::try_from(shorter.as_millis()).unwrap_or(u64::MAX) + 1;
            if Duration::from_millis(storm_ms) < profile.storm {
                found.push(Self {
                    storm_ms: Some(storm_ms),
                    ..self.clone()
                });
            }
        }
        for fewer in [0, 1, 2, 4] {
            if fewer < profile.clients {
                found.push(Self {
                    clients: Some(fewer),
                    ..self.clone()
                });
            }
        }
        let parts = Part::all()
            .into_iter()
            .filter(|part| part.is_in(profile) && !self.without.contains(part));
        found.extend(parts.map(|part| {
            let mut cuts = self.clone();
            cuts.without.push(part);
            cuts
        }));
        found
    }
}
