use super::*;

fn parsed(arguments: &[&str]) -> Result<BTreeMap<String, u64>, Failure> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    parse(&arguments)
}

#[test]
fn names_and_values_are_parsed() {
    let values = parsed(&["fuel_per_command=2_000", "max-keys=7"]).unwrap();
    let expected = [
        ("fuel_per_command".to_owned(), 2000),
        ("max_keys".to_owned(), 7),
    ];
    assert_eq!(values, BTreeMap::from(expected));
}

#[test]
fn anything_else_is_wrong_usage() {
    for arguments in [
        &["keys"][..],
        &["keys="],
        &["=5"],
        &["keys=-1"],
        &["keys=1", "keys=2"],
    ] {
        let failure = parsed(arguments).unwrap_err();
        assert_eq!(failure.code(), 2, "{failure}");
    }
}

#[test]
fn a_cluster_at_level_0_shows_how_to_raise_it() {
    let settings = ClusterSettings {
        level: 0,
        highest_level: 1,
        semantics: None,
        cost_table: None,
        settings: None,
        differing: Vec::new(),
        index: None,
    };
    assert!(shown(&settings).contains("oarlock settings raise-level"));
}
