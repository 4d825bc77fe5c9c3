//! Formats the findings as text or JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::command::output::print_safely;
use crate::command::table::{Align, Table, Tone};
use crate::doctor::facts::{ClusterFacts, DirectoryContent, NodeAnswer};
use crate::doctor::{Finding, FindingSeverity};

const COLUMNS: [(&str, Align); 4] = [
    ("SEVERITY", Align::Left),
    ("CHECK", Align::Left),
    ("NODES", Align::Left),
    ("SEEN", Align::Left),
];

fn tone(severity: FindingSeverity) -> Tone {
    match severity {
        FindingSeverity::Critical => Tone::Bad,
        FindingSeverity::Warning => Tone::Attention,
        FindingSeverity::Notice => Tone::Plain,
    }
}

/// `1 critical finding, 2 warnings`.
pub(super) fn counted(critical: usize, warnings: usize) -> String {
    let one = |count: usize, name: &str| match count {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    };
    let parts = [(critical, "critical finding"), (warnings, "warning")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, name)| one(count, name)).collect();
    parts.join(", ")
}

/// The findings for people: a table, then what to do about each.
pub(super) fn as_text(facts: &ClusterFacts, findings: &[Finding]) -> String {
    let mut text = examined(facts);
    if findings.is_empty() {
        text.push_str("nothing is wrong\n");
        return text;
    }
    let mut table = Table::new(&COLUMNS);
    for finding in findings {
        let tone = tone(finding.severity);
        let plain = |text: &str| (print_safely(text).into_owned(), Tone::Plain);
        table.row([
            (finding.severity.name().to_owned(), tone),
            plain(&finding.check),
            plain(&finding.nodes.join(", ")),
            plain(&finding.seen),
        ]);
    }
    text.push_str(&table.render());
    // Findings of the same check have the same remedy.
    let mut told: Vec<&str> = Vec::new();
    for finding in findings {
        if told.contains(&&*finding.check) {
            continue;
        }
        told.push(&finding.check);
        let same = findings.iter().filter(|other| other.check == finding.check);
        text.push('\n');
        remedy(&mut text, finding, same);
    }
    text
}

fn remedy<'a>(
    text: &mut String,
    finding: &Finding,
    same: impl Iterator<Item = &'a Finding> + Clone,
) {
    let tone = tone(finding.severity);
    // Writing to a string can't fail.
    let _ = writeln!(text, "{}", tone.paint(&finding.check));
    for other in same.clone() {
        let of = match other.nodes.join(", ") {
            nodes if nodes.is_empty() => String::new(),
            nodes => format!("{nodes}: "),
        };
        let seen = format!("{of}{}", other.seen);
        let _ = writeln!(text, "  seen  {}", print_safely(&seen));
    }
    let _ = writeln!(text, "  why   {}", finding.why);
    let _ = writeln!(text, "  do    {}", finding.remedy);
    let mut commands: Vec<&str> = Vec::new();
    for command in same.flat_map(|other| &other.commands) {
        if !commands.contains(&command.as_str()) {
            commands.push(command);
        }
    }
    for command in commands {
        let command = Tone::Command.paint(&print_safely(command));
        let _ = writeln!(text, "        {command}");
    }
}

/// What was examined.
fn examined(facts: &ClusterFacts) -> String {
    if let Some(dir) = &facts.directory {
        let path = print_safely(&dir.path).into_owned();
        return match &dir.content {
            DirectoryContent::Log(log) => format!(
                "{path}: node {}, {} entries up to {}, snapshot up to entry {}\n",
                print_safely(&log.node_id),
                log.entries,
                log.last_index,
                log.snapshot_index
            ),
            _ => format!("{path}\n"),
        };
    }
    let responded = |answer: &NodeAnswer| matches!(answer, NodeAnswer::Facts(_));
    let examined = facts.nodes.iter().filter(|node| responded(&node.answer));
    format!(
        "{} of {} nodes examined\n",
        examined.count(),
        facts.nodes.len()
    )
}

/// The findings and the facts for programs.
pub(super) fn as_json(facts: &ClusterFacts, findings: &[Finding]) -> Value {
    let severity = findings.iter().map(|finding| finding.severity).max();
    let nodes: Vec<Value> = facts
        .nodes
        .iter()
        .map(|node| {
            let (facts, error) = match &node.answer {
                NodeAnswer::Facts(facts) => (Some(facts), None),
                NodeAnswer::Unreachable(reason) | NodeAnswer::Refused(reason) => {
                    (None, Some(reason.as_str()))
                }
                NodeAnswer::NoAddress => (None, Some("client address unknown")),
            };
            json!({
                "node_id": node.node_id,
                "endpoint": node.endpoint,
                "error": error,
                "facts": facts,
            })
        })
        .collect();
    let directory = facts.directory.as_ref().map(|dir| &dir.path);
    json!({
        "severity": severity,
        "findings": findings,
        "nodes": nodes,
        "directory": directory,
    })
}
