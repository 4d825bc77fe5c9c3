use oarlock_guest::RestoreError;
use oarlock_guest::testing::TestCluster;

use super::{apples, foreign, pears, swapped};

fn two_apples_and_a_pear() -> TestCluster<apples::Fruit> {
    let mut cluster = TestCluster::new();
    cluster.send("a");
    cluster.send("p");
    assert_eq!(cluster.send("a").text(), "2 apples, 1 pears");
    cluster
}

#[track_caller]
fn assert_names_both(error: &RestoreError, other: &str) {
    let text = error.to_string();
    for part in ["apples version 1 (layout serde1:", other] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn a_guest_of_another_name_is_refused() {
    let refused = two_apples_and_a_pear().upgrade::<pears::Fruit>().err();
    let refused = refused.expect("another name");
    assert!(matches!(refused, RestoreError::OtherGuest(_)), "{refused}");
    assert_names_both(&refused, "pears version 1 (layout serde1:");
}

#[test]
fn swapped_fields_under_one_version_are_refused() {
    let refused = two_apples_and_a_pear().upgrade::<swapped::Fruit>().err();
    let refused = refused.expect("a forgotten version");
    assert!(matches!(refused, RestoreError::OtherLayout(_)), "{refused}");
    assert_names_both(&refused, "raise the version and write `migrate`");
}

#[test]
fn another_languages_guest_of_the_same_name_is_refused() {
    let refused = two_apples_and_a_pear().upgrade::<foreign::Fruit>().err();
    let refused = refused.expect("another layout");
    assert!(matches!(refused, RestoreError::OtherLayout(_)), "{refused}");
    assert_names_both(&refused, "apples version 1 (layout two-numbers)");
}

#[test]
fn a_machine_is_replaced_on_purpose_and_no_field_is_misread() {
    let replaced = two_apples_and_a_pear().replace_machine::<pears::Fruit>();
    let mut pears = replaced.expect("it has a migrate");
    assert_eq!(pears.send("p").text(), "2 apples, 2 pears");
    // The way back needs a migrate as well: the layouts differ.
    assert!(pears.replace_machine::<apples::Fruit>().is_err());
}
