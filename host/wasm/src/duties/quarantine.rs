//! The states of quarantine.

/// Whether a node serves requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuarantineState {
    /// No audit has found a difference from the majority since the node's state was last replaced.
    #[default]
    Serving,
    /// The node's state differs from the majority's. It serves no requests until a snapshot of the leader is installed.
    Quarantined,
    /// The node has diverged too often. It serves no requests until an operator replaces the node.
    GivenUp,
}

/// The state, with a counter that distinguishes successive periods of serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    /// Whether it serves.
    pub state: QuarantineState,
    /// How often a snapshot has ended a quarantine, since the node was started.
    pub reinstalls: u64,
}

impl Quarantine {
    /// Whether requests are served.
    pub fn is_serving(self) -> bool {
        self.state == QuarantineState::Serving
    }

    /// Starts a quarantine. Returns `false` if the node was in quarantine already.
    pub fn enter(&mut self) -> bool {
        let enters = self.is_serving();
        if enters {
            self.state = QuarantineState::Quarantined;
        }
        enters
    }

    /// Ends a quarantine after a reinstall.
    pub fn leave(&mut self) {
        self.state = QuarantineState::Serving;
        self.reinstalls += 1;
    }

    /// Ends a quarantine without a reinstall: the state of the node was found or declared to be right. Returns `false` if
    /// the node was not in quarantine.
    pub fn acquit(&mut self) -> bool {
        let ends = !self.is_serving();
        self.state = QuarantineState::Serving;
        ends
    }

    /// Makes a quarantine permanent.
    pub fn give_up(&mut self) {
        self.state = QuarantineState::GivenUp;
    }
}
