use quote::quote;

use super::*;

fn expansion_of(arguments: TokenStream) -> String {
    let item = quote!(impl StateMachine for Counter {});
    state_machine(arguments, item)
        .unwrap()
        .to_string()
        .replace(' ', "")
}

#[track_caller]
fn assert_refused(arguments: TokenStream, item: TokenStream, expected: &str) {
    let message = state_machine(arguments, item).unwrap_err().to_string();
    assert!(
        message.contains(expected),
        "{message:?} does not contain {expected:?}"
    );
}

#[track_caller]
fn assert_arguments_refused(arguments: TokenStream, expected: &str) {
    assert_refused(
        arguments,
        quote!(impl StateMachine for Counter {}),
        expected,
    );
}

#[track_caller]
fn assert_item_refused(item: TokenStream, expected: &str) {
    assert_refused(quote!(name = "counter", version = 1), item, expected);
}

#[test]
fn the_impl_is_unchanged_and_the_guest_impl_is_added() {
    let text = expansion_of(quote!(name = "counter", version = 3));
    assert!(text.starts_with("implStateMachineforCounter{}"), "{text}");
    assert!(
        text.contains(r#"constNAME:&'staticstr="counter""#),
        "{text}"
    );
    assert!(text.contains("constVERSION:u32=3u32"), "{text}");
    assert!(
        text.contains("typeCodec=::oarlock_guest::codec::Json"),
        "{text}"
    );
}

#[test]
fn the_exports_exist_only_for_wasm() {
    let text = expansion_of(quote!(name = "counter", version = 1));
    assert!(
        text.contains(r#"#[cfg(target_family="wasm")]::oarlock_guest::__export_guest!(Counter)"#),
        "{text}"
    );
}

#[test]
fn a_codec_is_named_or_given_as_a_type() {
    let named = expansion_of(quote!(name = "c", version = 1, codec = "bytes"));
    assert!(
        named.contains("typeCodec=::oarlock_guest::codec::Bytes"),
        "{named}"
    );
    let given = expansion_of(quote!(name = "c", version = 1, codec = my::Borsh,));
    assert!(given.contains("typeCodec=my::Borsh"), "{given}");
}

#[test]
fn a_layout_may_be_named() {
    let derived = expansion_of(quote!(name = "c", version = 1));
    let expected = "constLAYOUT:::core::option::Option<&'staticstr>=::core::option::Option::";
    assert!(derived.contains(&format!("{expected}None;")), "{derived}");
    let named = expansion_of(quote!(name = "c", version = 1, layout = "tree-1"));
    assert!(
        named.contains(&format!(r#"{expected}Some("tree-1");"#)),
        "{named}"
    );
    // A colon marks a derived one.
    for wrong in ["", "serde1:00", "two words", &"x".repeat(65)] {
        assert_arguments_refused(
            quote!(name = "c", version = 1, layout = #wrong),
            "`layout` is a string of 1 to 64 characters",
        );
    }
    assert_arguments_refused(quote!(name = "c", version = 1, layout = 1), "`layout` is a");
}

#[test]
fn a_schema_may_be_any_constant_string() {
    let text = expansion_of(quote!(
        name = "c",
        version = 1,
        schema = include_str!("s.json")
    ));
    assert!(
        text.contains(r#"constSCHEMA:&'staticstr=include_str!("s.json")"#),
        "{text}"
    );
}

#[test]
fn a_missing_argument_is_named_with_an_example() {
    assert_arguments_refused(quote!(version = 1), "state_machine needs `name`");
    assert_arguments_refused(quote!(name = "counter"), "state_machine needs `version`");
    assert_arguments_refused(
        quote!(),
        r#"#[state_machine(name = "counter", version = 1)]"#,
    );
}

#[test]
fn an_argument_of_the_wrong_kind_is_named() {
    assert_arguments_refused(quote!(name = 5, version = 1), "`name` is a string literal");
    assert_arguments_refused(quote!(name = "My Guest", version = 1), r#"not "My Guest""#);
    assert_arguments_refused(quote!(name = "", version = 1), "1 to 64 characters");
    assert_arguments_refused(quote!(name = "c", version = "1"), "`version` is an integer");
    assert_arguments_refused(quote!(name = "c", version = 0), "`version` is an integer");
    assert_arguments_refused(
        quote!(name = "c", version = 4294967296),
        "`version` is an integer",
    );
    assert_arguments_refused(quote!(name), "`name` needs a value");
}

#[test]
fn an_unknown_or_repeated_argument_is_named() {
    assert_arguments_refused(
        quote!(nmae = "c", version = 1),
        "`nmae` is not an argument of state_machine",
    );
    assert_arguments_refused(
        quote!(name = "c", name = "d", version = 1),
        "`name` is given twice",
    );
    assert_arguments_refused(
        quote!(name = "c", version = 1, codec = "xml"),
        r#"there is no codec "xml""#,
    );
    assert_arguments_refused(
        quote!(name = "c", version = 1, codec = 5),
        "`codec` is \"json\"",
    );
}

#[test]
fn an_item_that_is_not_the_impl_is_rejected_with_the_right_place() {
    assert_item_refused(
        quote!(
            struct Counter;
        ),
        "move it from `struct Counter` to `impl StateMachine for Counter`",
    );
    assert_item_refused(
        quote!(
            enum State {}
        ),
        "move it from `enum State`",
    );
    assert_item_refused(
        quote!(
            fn apply() {}
        ),
        "belongs on `impl StateMachine for YourType",
    );
    assert_item_refused(quote!(impl Counter {}), "name the trait");
    assert_item_refused(
        quote!(impl std::fmt::Debug for Counter {}),
        "not on an impl of `std::fmt::Debug`",
    );
}

#[test]
fn a_type_with_parameters_is_refused() {
    assert_item_refused(
        quote!(
            impl<T> StateMachine for Counter<T> {}
        ),
        "has no generic parameters",
    );
}
