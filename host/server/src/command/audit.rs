//! `oarlock audit`: the comparison of the nodes' states.

use std::fmt::Write;

use oarlock_client::AuditInfo;

use super::connect::{block_on, connect, refused};
use super::output::{print_coloured, print_safely, write_json};
use crate::cli::{AuditArgs, AuditCommand};
use crate::exit::Failure;

/// Shows the latest audit, or accepts the state of a node, and prints the result.
///
/// # Errors
/// No node responds, or the acceptance is refused.
pub(crate) fn audit(args: AuditArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: AuditArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let audit = match &args.command {
        None | Some(AuditCommand::Show) => client.audit().await,
        Some(AuditCommand::Accept { node, by }) => client.accept_state(node, by).await,
    };
    let audit = audit.map_err(|error| refused(&error, &error))?;
    if args.client.output.json {
        return write_json(std::io::stdout().lock(), &audit);
    }
    print_coloured(&shown(&audit))
}

fn shown(audit: &AuditInfo) -> String {
    let Some(index) = audit.index else {
        return "no audit has compared the states yet\n".to_owned();
    };
    let mut text = format!("state hashes after entry {index}\n");
    for (node, hash) in &audit.reports {
        let note = if audit.differing.contains(node) {
            "  differs from the majority"
        } else if audit.accepted.as_ref() == Some(hash) {
            "  accepted"
        } else {
            ""
        };
        // Writing to a string never fails.
        let _ = writeln!(text, "{}  {}{note}", print_safely(node), print_safely(hash));
    }
    if audit.writes_stopped {
        text.push_str(
            "no majority agrees, so commands are refused; compare the states with stale queries on each node, then \
             accept one with `oarlock audit accept NODE`\n",
        );
    }
    text
}

#[cfg(test)]
mod tests;
