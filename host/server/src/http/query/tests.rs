//! The parameter `consistency`.

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
