use super::*;

const LOCK: &str = r#"
version = 4
[[package]]
name = "guest"
version = "0.1.0"
dependencies = ["json", "macros 2.0.0"]
[[package]]
name = "host"
version = "0.1.0"
dependencies = ["macros 1.0.0", "engine"]
[[package]]
name = "json"
version = "1.4.0"
source = "registry+here"
checksum = "aa"
dependencies = ["digits"]
[[package]]
name = "digits"
version = "0.3.0"
source = "registry+here"
checksum = "bb"
dependencies = ["json"]
[[package]]
name = "macros"
version = "1.0.0"
source = "registry+here"
checksum = "cc"
[[package]]
name = "macros"
version = "2.0.0"
source = "registry+here"
checksum = "dd"
[[package]]
name = "engine"
version = "9.0.0"
source = "registry+here"
checksum = "ee"
"#;

fn closure_of(text: &str, name: &str) -> Result<Vec<String>, LockError> {
    let lock = Lock::parse(text.parse().unwrap())?;
    let closure = lock.closure(name)?;
    Ok(closure.into_iter().map(Package::identity).collect())
}

#[test]
fn a_guest_has_its_own_dependencies_at_their_exact_versions() {
    let packages = closure_of(LOCK, "guest").unwrap();
    assert_eq!(
        packages,
        [
            "digits 0.3.0 bb",
            "guest 0.1.0 -",
            "json 1.4.0 aa",
            "macros 2.0.0 dd"
        ]
    );
}

#[test]
fn a_change_elsewhere_does_not_touch_it() {
    let changed = LOCK.replace("9.0.0", "9.1.0").replace("\"cc\"", "\"c1\"");
    assert_eq!(
        closure_of(&changed, "guest").unwrap(),
        closure_of(LOCK, "guest").unwrap()
    );
    assert_ne!(
        closure_of(&changed, "host").unwrap(),
        closure_of(LOCK, "host").unwrap()
    );
}

#[test]
fn a_package_that_is_not_there_is_named() {
    let error = closure_of(
        &LOCK.replace("name = \"digits\"", "name = \"numbers\""),
        "guest",
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Cargo.lock does not hold digits; let cargo write it anew"
    );
    assert!(matches!(
        closure_of("version = 4", "guest"),
        Err(LockError::Form)
    ));
}
