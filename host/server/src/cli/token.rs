//! Flags of `oarlock token`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{FalseyValueParser, NonEmptyStringValueParser};
use clap::{ArgAction, Args, Subcommand};

use super::authority::{AuthorityArgs, NewClientArgs, RevokingNodesArgs};
use super::common::OutputArgs;
use crate::access::ScopeFlag;

/// Flags of `oarlock token`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  oarlock token create ann --roles reader,writer --ttl 24h --out ann.token\n  oarlock status --ca certs/ca.crt --token-file ann.token"
)]
pub(crate) struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
    /// Where the authority is.
    #[command(flatten)]
    pub(crate) authority: AuthorityArgs,
    /// How to print the result.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Subcommands of `oarlock token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token. Nodes store nothing about it: they check its signature.
    #[command(
        after_help = "Example:\n  oarlock token create ann --roles reader,writer --ttl 24h --out ann.token\n  oarlock token create mailer --roles writer --queues email,email-retry --out mailer.token"
    )]
    Create {
        /// The client.
        #[command(flatten)]
        client: NewClientArgs,
        /// The only queues of the task queue that the client may use, separated by commas: the same as --scope queues=….
        #[arg(
            long,
            value_name = "QUEUE,…",
            value_delimiter = ',',
            env = "OARLOCK_QUEUES"
        )]
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queues: Vec<String>,
        /// The only values of a scope that the client may use. The guest enforces it: the task queue has the scope `queues`.
        /// Can be repeated. Without any, the client is not limited.
        #[arg(long = "scope", value_name = "NAME=VALUE,…")]
        scopes: Vec<ScopeFlag>,
        /// How long it is valid: a number with s, m, h or d, up to 3650d.
        #[arg(long, value_name = "TIME", env = "OARLOCK_TTL", default_value = "24h")]
        #[arg(value_parser = parse_ttl)]
        ttl: Duration,
        /// Write the token to this file, which only you can read, instead of printing it.
        #[arg(long, value_name = "FILE", env = "OARLOCK_OUT")]
        out: Option<PathBuf>,
    },
    /// Replace the key that signs tokens. Afterwards, run `oarlock cert renew --authorities-only` for every node.
    #[command(
        after_help = "Example:\n  oarlock token key --rotate                                 tokens of the old key stay valid\n  oarlock cert renew certs/node1 --authorities-only          on every node\n  oarlock token key --drop-old                               then renew --authorities-only again on every node"
    )]
    Key {
        /// Create a new key. Tokens of the one before stay valid until --drop-old.
        #[arg(long, env = "OARLOCK_ROTATE", action = ArgAction::SetTrue)]
        #[arg(value_parser = FalseyValueParser::new(), conflicts_with = "drop_old")]
        #[arg(required_unless_present = "drop_old")]
        rotate: bool,
        /// Accept tokens of the newest key only.
        #[arg(long, env = "OARLOCK_DROP_OLD", action = ArgAction::SetTrue)]
        #[arg(value_parser = FalseyValueParser::new())]
        drop_old: bool,
    },
    /// Show what a token contains. Its signature is not checked.
    #[command(after_help = "Example:\n  oarlock token show ann.token")]
    Show {
        /// File with the token.
        #[arg(value_name = "FILE")]
        path: PathBuf,
    },
    /// Add the id of a token to the file `revoked` of nodes. They accept it no more.
    #[command(
        after_help = "Example:\n  oarlock token revoke ann.token --nodes certs/node1,certs/node2,certs/node3"
    )]
    Revoke {
        /// File with the token.
        #[arg(value_name = "FILE")]
        path: PathBuf,
        /// The nodes.
        #[command(flatten)]
        at: RevokingNodesArgs,
    },
}

/// Parses a time such as `24h`.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    const DAY: u64 = 86_400;
    let wrong = || "write a number with s, m, h or d, such as 24h, up to 3650d".to_owned();
    let (digits, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit) {
        Some(seconds @ 1..) if seconds <= 3650 * DAY => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_a_limit() {
        for (text, seconds) in [
            ("1s", 1),
            ("30m", 1800),
            ("24h", 86_400),
            ("3650d", 315_360_000),
        ] {
            assert_eq!(parse_ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "h",
            "1",
            "1.5h",
            "0s",
            "-1h",
            "3651d",
            "99999999999999999999d",
            "1ä",
        ] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
