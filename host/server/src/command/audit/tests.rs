use super::*;

fn audit(writes_stopped: bool) -> AuditInfo {
    AuditInfo {
        index: Some(7),
        agreeing: 1,
        differing: Vec::new(),
        undecided: writes_stopped,
        writes_stopped,
        quarantined: false,
        given_up: false,
        reports: [("node1", "aa"), ("node2", "bb")]
            .map(|(node, hash)| (node.to_owned(), hash.to_owned()))
            .into(),
        accepted: None,
    }
}

#[test]
fn stopped_writes_are_shown_with_the_way_out() {
    let text = shown(&audit(true));
    assert!(
        text.contains("node2  bb") && text.contains("oarlock audit accept"),
        "{text}"
    );
    assert!(!shown(&audit(false)).contains("accept"));
}
