use oarlock_client::OperationResult;

use super::*;

fn operation(index: u64, end: Option<Option<&str>>) -> OperationEntry {
    OperationEntry {
        index,
        time_ms: 0,
        by: "ann".to_owned(),
        what: "addMember".to_owned(),
        details: "node4=h:1\u{1b}[31m".to_owned(),
        end: end.map(|error| OperationResult {
            index: index + 1,
            time_ms: 5,
            error: error.map(str::to_owned),
        }),
    }
}

#[test]
fn each_operation_is_a_row_and_controls_no_terminal() {
    let operations = vec![
        operation(9, None),
        operation(5, Some(Some("change_under_way"))),
        operation(3, Some(None)),
    ];
    let history = OperationHistory {
        operations,
        total: 3,
    };
    let text = anstream::adapter::strip_str(&shown(&history)).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[1].contains("not known") && lines[1].contains("ann"));
    assert!(lines[2].ends_with("change_under_way"));
    assert!(lines[3].trim_start().starts_with('3') && lines[3].ends_with("done"));
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn without_operations_the_reason_is_shown() {
    let history = OperationHistory {
        operations: Vec::new(),
        total: 0,
    };
    assert!(shown(&history).contains("certificates"));
}
