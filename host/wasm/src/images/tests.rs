use super::*;

#[test]
fn a_rollback_method_is_displayed_with_its_reason() {
    assert_eq!(RollbackMethod::Images.to_string(), "memory images");
    let because = "it has 2 memories".to_owned();
    let replay = RollbackMethod::Replay { because };
    assert_eq!(replay.to_string(), "replay (it has 2 memories)");
}
