//! Facts in, findings out.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::checks::all;
use super::facts::ClusterFacts;
use super::finding::Finding;
use super::view::ClusterView;

/// Applies every check. The most urgent findings come first; those of the same severity are in the order of the table.
pub(crate) fn examine(facts: &ClusterFacts) -> Vec<Finding> {
    let view = ClusterView::of(facts);
    let mut findings: Vec<Finding> = all()
        .flat_map(|check| {
            let hits = (check.examine)(&view);
            hits.into_iter().map(move |hit| Finding {
                check: Cow::Borrowed(check.id),
                severity: hit.severity.unwrap_or(check.severity),
                condition: Cow::Borrowed(check.condition),
                nodes: hit.nodes,
                seen: hit.seen,
                why: Cow::Borrowed(check.why),
                remedy: Cow::Borrowed(check.remedy),
                commands: hit.commands,
            })
        })
        .collect();
    findings.sort_by_key(|finding| Reverse(finding.severity));
    findings
}
