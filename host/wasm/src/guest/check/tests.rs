use super::*;

#[test]
fn names_are_compatible_by_the_rule_of_versions() {
    let known = "a:b/c@0.1.0";
    assert!(is_compatible("a:b/c@0.1.0", known));
    assert!(is_compatible("a:b/c@0.1.9", known));
    for other in [
        "a:b/c@0.2.0",
        "a:b/c@1.0.0",
        "a:b/c@0.1.1-rc.1",
        "a:b/c@0.1",
        "a:b/c",
        "a:b/d@0.1.0",
    ] {
        assert!(!is_compatible(other, known), "{other}");
    }
    assert!(is_compatible("a:b/c@1.5.0", "a:b/c@1.2.0"));
    assert!(!is_compatible("a:b/c@2.0.0", "a:b/c@1.2.0"));
    assert!(is_compatible("plain", "plain"));
}
