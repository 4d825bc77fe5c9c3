//! Flags that `oarlock cert` and `oarlock token` share.

use std::path::PathBuf;

use clap::Args;

use crate::access::{ClientName, RoleSet};

/// Where the authority is.
#[derive(Debug, Args)]
pub(crate) struct AuthorityArgs {
    /// Directory of the authority: `ca.crt`, `ca.key`, and `token.key`, which signs tokens. Keep the keys away from the nodes:
    /// with them, everyone can make certificates and tokens of the cluster.
    #[arg(long, value_name = "DIR", env = "OARLOCK_CA_DIR", global = true)]
    #[arg(default_value = "./certs")]
    pub(crate) ca_dir: PathBuf,
}

/// A client, and what it may do.
#[derive(Debug, Args)]
pub(crate) struct NewClientArgs {
    /// Name of the client: 1 to 64 letters, digits, dots, hyphens and underscores.
    #[arg(value_name = "NAME")]
    pub(crate) name: ClientName,
    /// What it may do: `all`, or some of reader, writer, operator, upgrader and monitor, separated by commas.
    #[arg(long, value_name = "ROLES", env = "OARLOCK_ROLES")]
    pub(crate) roles: RoleSet,
}

/// How long the certificate of a node or a client is valid.
#[derive(Debug, Args)]
pub(crate) struct ValidityArgs {
    /// How many days it is valid.
    #[arg(long, value_name = "N", env = "OARLOCK_DAYS", default_value_t = 365)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
}

/// Nodes that are told what is revoked.
#[derive(Debug, Args)]
pub(crate) struct RevokingNodesArgs {
    /// Directories of the nodes, separated by commas.
    #[arg(long, value_name = "DIR,…", value_delimiter = ',', required = true)]
    #[arg(env = "OARLOCK_NODES")]
    pub(crate) nodes: Vec<PathBuf>,
}
