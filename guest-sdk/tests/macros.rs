//! Compiler errors for wrong uses of `#[state_machine]`. Each error names the fix.
//!
//! `TRYBUILD=overwrite cargo test -p oarlock-guest --test macros` rewrites the expected errors. Review the diff before
//! you commit it.

#[test]
fn wrong_uses_are_rejected_with_a_hint() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/macros/right.rs");
    cases.compile_fail("tests/macros/wrong/*.rs");
}
