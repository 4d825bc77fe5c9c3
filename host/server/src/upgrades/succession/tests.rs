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
    let active = guest("kv", 3, Some("x:1"));
    for (other, replace_machine) in [("x:2", false), ("x:2", true), ("by-hand", false)] {
        let new = guest("kv", 3, Some(other));
        let error = check(&active, &new, replace_machine).unwrap_err();
        assert!(matches!(error, SuccessionError::OtherLayout { .. }));
        let text = error.to_string();
        assert!(
            text.contains("layout x:1") && text.contains(&format!("layout {other}")),
            "{text}"
        );
    }
}

#[test]
fn another_version_an_unknown_layout_and_one_of_another_kind_pass() {
    let active = guest("kv", 3, Some("x:1"));
    for new in [
        guest("kv", 3, Some("x:1")),
        guest("kv", 4, Some("x:2")),
        guest("kv", 2, Some("x:2")),
        guest("kv", 3, None),
        guest("kv", 3, Some("y:1")),
    ] {
        assert_eq!(check(&active, &new, false), Ok(()), "{new}");
        assert_eq!(check(&new, &active, false), Ok(()), "{new}");
    }
}
