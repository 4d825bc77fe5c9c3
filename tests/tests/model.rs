//! The model check over its first states. `long/model.rs` explores more, and finds planted faults.

use oarlock_tests::model::{self, Bounds};

#[test]
fn the_first_states_of_three_nodes_break_nothing() {
    let report = model::explore(Bounds::small(), 20_000);
    if let Some((name, way)) = report.broken.first() {
        panic!("{name} does not hold after:\n  {}", way.join("\n  "));
    }
    assert!(report.states >= 5_000, "{report:?}");
}
