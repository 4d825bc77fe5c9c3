use oarlock_guest::testing::{TestCluster, layout as layout_of};
use oarlock_guest::{Guest, RestoreError};

use super::{apples, foreign, pears, swapped, widened};

fn two_apples_and_a_pear() -> TestCluster<apples::Fruit> {
    let mut cluster = TestCluster::new();
    cluster.send("a");
    cluster.send("p");
    assert_eq!(cluster.send("a").text(), "2 apples, 1 pears");
    cluster
}

/// The error has the guest that wrote the state, and the one that was to read it, each with its whole label.
#[track_caller]
fn assert_names_both(error: &RestoreError, read_by: &str, layout: &str) {
    let text = error.to_string();
    let labels = [
        format!("apples version 1 (layout {})", layout_of::<apples::Fruit>()),
        format!("{read_by} version 1 (layout {layout})"),
    ];
    assert_ne!(labels[0], labels[1]);
    for label in &labels {
        let found = text.matches(label.as_str()).count();
        assert_eq!(found, 1, "{label} in: {text}");
    }
    let labels = text.matches(" version 1 (layout ").count();
    assert_eq!(labels, 2, "two guests in: {text}");
}

/// The refusal of a guest with the same name and version.
#[track_caller]
fn assert_layout_is_refused<Next: Guest>() {
    let refused = two_apples_and_a_pear().upgrade::<Next>().err();
    let refused = refused.expect("another layout");
    assert!(matches!(refused, RestoreError::OtherLayout(_)), "{refused}");
    assert_names_both(&refused, "apples", &layout_of::<Next>());
    let text = refused.to_string();
    let advice = "raise the version and write `migrate`";
    assert!(text.contains(advice), "{text}");
}

#[test]
fn a_guest_of_another_name_is_refused() {
    let refused = two_apples_and_a_pear().upgrade::<pears::Fruit>().err();
    let refused = refused.expect("another name");
    assert!(matches!(refused, RestoreError::OtherGuest(_)), "{refused}");
    assert_names_both(&refused, "pears", &layout_of::<pears::Fruit>());
}

#[test]
fn swapped_fields_under_one_version_are_refused() {
    assert_layout_is_refused::<swapped::Fruit>();
}

#[test]
fn a_field_that_was_added_under_one_version_is_refused() {
    assert_layout_is_refused::<widened::Fruit>();
}

#[test]
fn another_languages_guest_of_the_same_name_is_refused() {
    assert_eq!(layout_of::<foreign::Fruit>(), "two-numbers");
    assert_layout_is_refused::<foreign::Fruit>();
}

#[test]
fn a_machine_is_replaced_on_purpose_and_no_field_is_misread() {
    let replaced = two_apples_and_a_pear().replace_machine::<pears::Fruit>();
    let mut pears = replaced.expect("it has a migrate");
    assert_eq!(pears.send("p").text(), "2 apples, 2 pears");
    // The way back needs a migrate as well: the layouts differ.
    assert!(pears.replace_machine::<apples::Fruit>().is_err());
}
