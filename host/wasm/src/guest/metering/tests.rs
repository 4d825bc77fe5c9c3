use super::*;
use crate::records::digest::Sha256;

/// The version before the table was pinned used the engine's own costs.
#[test]
fn costs_are_those_of_the_engine_at_the_time_of_the_pin() {
    assert_eq!(TABLE, OperatorCost::new());
}

/// Fails on any change of an entry: then `COST_TABLE` needs a new number, and hosts have to keep this table.
#[test]
fn the_id_names_one_table() {
    let digest = Sha256::of(format!("{TABLE:?}").as_bytes());
    assert_eq!(
        (COST_TABLE, digest.to_string().as_str()),
        (
            1,
            "56ab2396bcabd3b0a204f9fcd129be0c4e964528c00684d31c096b1a02b72f2c"
        )
    );
}
