//! `oarlock doctor`: what is wrong with a cluster or with the data directory of a stopped node.

mod certificates;
mod directory;
pub(super) mod gather;
mod show;

use super::connect::{block_on, connect};
use super::output::{print_coloured, write_json};
use crate::cli::DoctorArgs;
use crate::doctor::facts::{ClusterFacts, NodeAnswer};
use crate::doctor::{Finding, FindingSeverity, examine};
use crate::exit::Failure;

/// Examines, and prints the findings.
///
/// # Errors
/// No node responds, or something is critical or a warning: the exit code tells which.
pub(crate) fn doctor(args: DoctorArgs) -> Result<(), Failure> {
    let facts = match &args.dir {
        Some(dir) => ClusterFacts {
            directory: Some(directory::read(dir)),
            certificates: certificates::read(args.client.certs_dir.as_deref())?,
            ..ClusterFacts::default()
        },
        None => block_on(async {
            let client = connect(&args.client)?;
            Ok(ClusterFacts {
                nodes: gather::gather(&client).await,
                certificates: certificates::read(args.client.certs_dir.as_deref())?,
                ..ClusterFacts::default()
            })
        })?,
    };
    let findings = examine(&facts);
    if args.client.output.json {
        write_json(std::io::stdout().lock(), &show::as_json(&facts, &findings))?;
    } else {
        print_coloured(&show::as_text(&facts, &findings))?;
    }
    outcome(&facts, &findings)
}

/// The exit code, by the most urgent finding.
fn outcome(facts: &ClusterFacts, findings: &[Finding]) -> Result<(), Failure> {
    let responds =
        |answer: &NodeAnswer| matches!(answer, NodeAnswer::Facts(_) | NodeAnswer::Refused(_));
    let is_online = facts.directory.is_none();
    if is_online && !facts.nodes.iter().any(|node| responds(&node.answer)) {
        return Err(Failure::unreachable(
            "no node responds; check that the nodes are running and that these are their client addresses, or examine the data \
             directory of a stopped node with `oarlock doctor --data-dir DIR`",
        ));
    }
    let of = |severity| {
        let same = findings
            .iter()
            .filter(|finding| finding.severity == severity);
        same.count()
    };
    let (critical, warnings) = (of(FindingSeverity::Critical), of(FindingSeverity::Warning));
    let summary = show::counted(critical, warnings);
    match (critical, warnings) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::attention(format!(
            "{summary}; the report has a remedy for each"
        ))),
        _ => Err(Failure::failed(format!(
            "{summary}; the report has a remedy for each"
        ))),
    }
}
