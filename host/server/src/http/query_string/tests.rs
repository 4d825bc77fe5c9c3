//! The parameters `consistency` and `wait_index`.

use super::*;

#[test]
fn the_default_is_linearizable() {
    assert_eq!(consistency(""), Some(Consistency::Linearizable));
    assert_eq!(
        consistency("consistency=linearizable"),
        Some(Consistency::Linearizable)
    );
    assert_eq!(consistency("consistency=stale"), Some(Consistency::Stale));
}

#[test]
fn other_parameters_are_malformed() {
    for query in [
        "consistency=",
        "consistency=Stale",
        "fresh=1",
        "consistency=stale&consistency=stale",
        "stale",
    ] {
        assert_eq!(consistency(query), None, "{query}");
    }
}

#[test]
fn an_index_to_wait_for_is_parsed_and_takes_the_slow_path() {
    let parsed = parameters("wait_index=17&consistency=stale");
    assert_eq!(parsed, Some((Consistency::Stale, Some(17))));
    assert_eq!(
        parameters("wait_index=0"),
        Some((Consistency::Linearizable, Some(0)))
    );
    assert_eq!(consistency("wait_index=17"), None);
    for query in [
        "wait_index=",
        "wait_index=+1",
        "wait_index=x",
        "wait_index=99999999999999999999",
        "wait_index=1&wait_index=1",
    ] {
        assert_eq!(parameters(query), None, "{query}");
    }
}
