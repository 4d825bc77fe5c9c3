//! What a node does about its machine besides applying entries: its part in audits and upgrades. All of it is pure: the caller
//! brings the time, the reports of the machine and the voters, and proposes the records.
//!
//! | module | content |
//! |---|---|
//! | `verdict` | what a node concludes from audits: whether it serves, and whether the cluster accepts commands |
//! | `findings` | comparison of the reports of one audit |
//! | `quarantine` | the states of quarantine |
//! | `audit` | which step of an audit is next, and when |
//! | `upgrade` | which record of an upgrade is next |
//! | `retry` | pauses between attempts |

pub(crate) mod audit;
pub(crate) mod findings;
pub(crate) mod quarantine;
pub(crate) mod retry;
pub(crate) mod upgrade;
pub(crate) mod verdict;
