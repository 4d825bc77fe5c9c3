use super::*;

fn guest(name: &str, version: u32, layout: Option<&str>) -> ModuleIdentity {
    ModuleIdentity {
        name: name.to_owned(),
        version,
        sha256: Sha256::of(name.as_bytes()),
        layout: layout.map(str::to_owned),
    }
}

#[test]
fn another_name_is_refused_unless_the_machine_is_replaced() {
    let (apples, pears) = (guest("apples", 1, Some("a")), guest("pears", 1, None));
    let error = check(&apples, &pears, false).unwrap_err();
    let (one, two) = (
        &apples.sha256.to_string()[..12],
        &pears.sha256.to_string()[..12],
    );
    assert_eq!(
        error.to_string(),
        format!(
            "the active guest is apples version 1 ({one}, layout a), and the new one is pears version 1 ({two}, layout \
             unknown): a guest of another name may read the state differently"
        )
    );
    assert_eq!(check(&apples, &pears, true), Ok(()));
    assert_eq!(check(&apples, &guest("pears", 1, Some("b")), true), Ok(()));
}

#[test]
fn another_layout_of_the_same_version_is_refused_even_if_the_machine_is_replaced() {
    let derived = "serde1:abf49ab2-a49cf1f34aa3aff3";
    for (one, other) in [
        (derived, "serde1:abf49ab2-a49cf1f34aa3aff4"),
        (derived, "by-hand"),
        // Another language's guest: the text before the colon is a part of the author's own text.
        (derived, "lock-python:1"),
        ("lock-python:1", "lock-js:1"),
        ("lock-python:1", "lock-python:2"),
        // No algorithm of the SDK.
        (derived, "serde:1"),
        (derived, "serdex:1"),
        (derived, "serde1x:1"),
        (derived, "serde2"),
    ] {
        let (one, other) = (guest("kv", 3, Some(one)), guest("kv", 3, Some(other)));
        for (active, new) in [(&one, &other), (&other, &one)] {
            for replace_machine in [false, true] {
                let error = check(active, new, replace_machine).unwrap_err();
                assert!(matches!(error, SuccessionError::OtherLayout { .. }));
                let text = error.to_string();
                for named in [active, new] {
                    assert!(text.contains(&named.to_string()), "{named}: {text}");
                }
            }
        }
    }
}

#[test]
fn another_version_an_unknown_layout_and_one_of_another_algorithm_pass() {
    let active = guest("kv", 3, Some("serde1:01-02"));
    for new in [
        guest("kv", 3, Some("serde1:01-02")),
        guest("kv", 4, Some("serde1:01-03")),
        guest("kv", 2, Some("serde1:01-03")),
        guest("kv", 4, Some("kv-python:1")),
        guest("kv", 3, None),
        guest("kv", 3, Some("serde2:01-02")),
        guest("kv", 3, Some("serde10:3")),
    ] {
        assert_eq!(check(&active, &new, false), Ok(()), "{new}");
        assert_eq!(check(&new, &active, false), Ok(()), "{new}");
    }
}
