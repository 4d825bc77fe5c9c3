//! Flags that several commands share.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

/// Flags of every command.
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// Settings file, TOML. Each flag is a key, with underscores or hyphens: `node_id = "node1"`. Flags and environment
    /// variables take precedence.
    #[arg(long, value_name = "FILE", env = "OARLOCK_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
}

/// The flag of commands that use a data directory.
#[derive(Debug, Args)]
pub(crate) struct DataDirArgs {
    /// Data directory of the node: its log, vote and snapshots. Each node needs its own.
    #[arg(
        long,
        value_name = "DIR",
        env = "OARLOCK_DATA_DIR",
        default_value = "./oarlock-data"
    )]
    pub(crate) data_dir: PathBuf,
}

/// Flags of commands that print data.
#[derive(Debug, Default, Args)]
pub(crate) struct OutputArgs {
    /// Print one JSON object instead of text.
    #[arg(long, global = true, env = "OARLOCK_JSON", action = ArgAction::SetTrue)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Flags of commands that send requests to a cluster.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Client addresses of nodes, separated by commas. One is enough; with several, the command survives the loss of a
    /// node.
    #[arg(
        long,
        value_name = "ADDR,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:8101"
    )]
    #[arg(env = "OARLOCK_ENDPOINTS", global = true)]
    pub(crate) endpoints: Vec<String>,
    /// Timeout of a request, retries included, in milliseconds, 1 to 600000.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 10_000,
        env = "OARLOCK_TIMEOUT_MS",
        global = true
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub(crate) timeout_ms: u64,
    /// Use TLS, with the certificate in this directory, which `oarlock cert client` has written.
    #[arg(long, value_name = "DIR", env = "OARLOCK_CERTS_DIR", global = true)]
    pub(crate) certs_dir: Option<PathBuf>,
    /// Use TLS without a certificate of this client: trust the authorities in this file, which is `ca.crt` of the cluster.
    #[arg(long, value_name = "FILE", env = "OARLOCK_CA", global = true)]
    #[arg(conflicts_with = "certs_dir")]
    pub(crate) ca: Option<PathBuf>,
    /// Send the token in this file, which `oarlock token create` has printed. Needs --ca.
    #[arg(long, value_name = "FILE", env = "OARLOCK_TOKEN_FILE", global = true)]
    #[arg(conflicts_with = "certs_dir")]
    pub(crate) token_file: Option<PathBuf>,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
