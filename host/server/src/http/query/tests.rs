//! How the freshness of an answer is asked for.

use super::*;

#[test]
fn nothing_means_linearizable() {
    assert_eq!(consistency(""), Ok(Consistency::Linearizable));
    assert_eq!(
        consistency("consistency=linearizable"),
        Ok(Consistency::Linearizable)
    );
    assert_eq!(consistency("consistency=stale"), Ok(Consistency::Stale));
}

#[test]
fn anything_else_is_malformed() {
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
