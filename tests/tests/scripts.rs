//! The scenario scripts: each shows what the nodes do. `REWRITE=1` in the environment refreshes their output.

use std::path::{Path, PathBuf};

use oarlock_tests::script::{self, ScriptError, Verdict};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

#[test]
fn every_script_shows_what_the_nodes_do() {
    let rewrite = std::env::var_os("REWRITE").is_some_and(|value| value == "1");
    let files = script::files(&folder()).unwrap();
    assert!(files.len() >= 10, "{files:?}");
    let mut wrong = Vec::new();
    for file in files {
        match script::check(&file, rewrite) {
            Ok(Verdict::Same) => {}
            Ok(Verdict::Differs(..)) if rewrite => println!("{} was rewritten", file.display()),
            Ok(Verdict::Differs(line, then, now)) => wrong.push(format!(
                "{}:{line}\n  file:  {then}\n  nodes: {now}",
                file.display()
            )),
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_run_repeats_itself_and_keeps_comments_and_commands() {
    let text = "# Alone.\nnodes 1\n\ncampaign 1\n  something else\nquiet propose 1 x\nshow\n";
    let first = script::run(text).unwrap();
    assert_eq!(script::run(&first).unwrap(), first);
    assert!(!first.contains("something else"), "{first}");
    let kept: Vec<_> = first
        .lines()
        .filter(|line| !line.starts_with("  "))
        .collect();
    let wanted = [
        "# Alone.",
        "nodes 1",
        "",
        "campaign 1",
        "quiet propose 1 x",
        "show",
    ];
    assert_eq!(kept, wanted);
}

#[test]
fn a_script_that_no_longer_tells_the_truth_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("planted.txt");
    std::fs::write(&file, "nodes 1\ncampaign 1\n  1 is king\n").unwrap();
    match script::check(&file, false).unwrap() {
        Verdict::Differs(line, then, _) => assert_eq!((line, then.as_str()), (3, "  1 is king")),
        Verdict::Same => panic!("the planted line was not found"),
    }
    assert_ne!(script::check(&file, true).unwrap(), Verdict::Same);
    assert_eq!(script::check(&file, false).unwrap(), Verdict::Same);
}

#[test]
fn a_line_that_is_no_command_is_named() {
    for (text, line) in [
        ("dance\n", 1),
        ("nodes 3\n\npersist 1\n", 3),
        ("nodes 3\nnodes 3\n", 2),
        ("nodes 3 speed=1\n", 1),
        ("nodes 3\ndeliver 4\n", 2),
    ] {
        match script::run(text) {
            Err(ScriptError::Line { line: at, .. }) => assert_eq!(at, line, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}
