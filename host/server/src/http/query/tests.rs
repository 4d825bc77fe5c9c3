//! The parameters `consistency` and `wait_index`.

use super::*;

#[test]
fn the_default_is_linearizable() {
    assert_eq!(consistency(""), Ok(Consistency::Linearizable));
    assert_eq!(
        consistency("consistency=linearizable"),
        Ok(Consistency::Linearizable)
    );
    assert_eq!(consistency("consistency=stale"), Ok(Consistency::Stale));
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
        assert_eq!(
            consistency(query).expect_err("unknown").code(),
            "malformed",
            "{query}"
        );
    }
}

#[test]
fn an_index_to_wait_for_is_parsed_and_takes_the_slow_path() {
    let parsed = parameters("wait_index=17&consistency=stale");
    assert_eq!(parsed, Ok((Consistency::Stale, Some(17))));
    assert_eq!(
        parameters("wait_index=0"),
        Ok((Consistency::Linearizable, Some(0)))
    );
    assert!(consistency("wait_index=17").is_err());
    for query in [
        "wait_index=",
        "wait_index=+1",
        "wait_index=x",
        "wait_index=99999999999999999999",
        "wait_index=1&wait_index=1",
    ] {
        assert_eq!(
            parameters(query).expect_err("invalid").code(),
            "malformed",
            "{query}"
        );
    }
}
