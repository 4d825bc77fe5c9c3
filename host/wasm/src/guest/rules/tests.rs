use super::*;

#[test]
fn code_under_other_rules_has_another_name() {
    let module = Sha256::of(b"a module");
    let bounded = |bytes| Rules::BoundedStack { bytes }.code_of(module);
    assert_eq!(Rules::Native.code_of(module), module);
    assert_ne!(bounded(1), module);
    assert_ne!(bounded(1), bounded(2));
}
