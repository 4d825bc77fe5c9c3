//! What the compiler says where `#[state_machine]` is used wrongly: it names what to write instead.
//!
//! `TRYBUILD=overwrite cargo test -p oarlock-guest --test macros` writes the texts anew; read the difference before you
//! keep it.

#[test]
fn wrong_uses_are_refused_with_words_that_help() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/macros/right.rs");
    cases.compile_fail("tests/macros/wrong/*.rs");
}
