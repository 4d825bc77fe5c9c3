use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::*;
use crate::JsonText;

/// A type for one test.
macro_rules! kind {
    ($($item:item)+) => { $(#[derive(Deserialize)] #[allow(dead_code)] $item)+ };
}

#[track_caller]
fn text<T: DeserializeOwned>() -> String {
    let mut text = String::new();
    let graph = trace::explore::<T>().unwrap();
    graph.write(true, &mut |part| text.push_str(part)).unwrap();
    text
}

#[track_caller]
fn print_of<T: DeserializeOwned>() -> Fingerprint {
    of::<T>().unwrap()
}

#[test]
fn the_text_names_fields_variants_and_types() {
    kind! {
        struct State {
            count: u64,
            names: Vec<String>,
            by_key: BTreeMap<u32, Entry>,
            last: Option<Event>,
            pair: (i8, f64),
            nothing: (),
        }
        struct Entry { flag: bool, sign: char }
        enum Event { Open, Closed { at_ms: u64 }, Moved(i64), Both(u8, u8) }
    }
    assert_eq!(
        text::<State>(),
        "{count:u64,names:[string],by_key:map<u32,{flag:bool,sign:char}>,\
         last:option<<Open!,Closed{at_ms:u64},Moved(i64),Both(u8*2)>>,pair:(i8,f64),nothing:unit}"
    );
}

#[test]
fn two_swapped_fields_of_one_type_change_it() {
    kind! {
        struct One { apples: u64, pears: u64 }
        struct Swapped { pears: u64, apples: u64 }
    }
    let (one, swapped) = (print_of::<One>(), print_of::<Swapped>());
    assert_ne!(one, swapped);
    assert!(one.has_types_of(&swapped));
}

#[test]
fn each_change_of_a_type_changes_it() {
    kind! {
        struct Base { a: u32, b: Vec<Inner>, c: Choice }
        struct Inner { x: u8 }
        enum Choice { A, B(u8) }

        struct Renamed { a: u32, bb: Vec<Inner>, c: Choice }
        struct Wider { a: u64, b: Vec<Inner>, c: Choice }
        struct More { a: u32, b: Vec<Inner>, c: Choice, d: bool }
        struct OtherElement { a: u32, b: Vec<Inner2>, c: Choice }
        struct Inner2 { x: u16 }
        struct OtherFieldInElement { a: u32, b: Vec<Inner3>, c: Choice }
        struct Inner3 { y: u8 }
        struct OtherVariants { a: u32, b: Vec<Inner>, c: Swapped }
        enum Swapped { B(u8), A }
        struct OtherVariant { a: u32, b: Vec<Inner>, c: RenamedVariant }
        enum RenamedVariant { A, C(u8) }
        struct OtherContent { a: u32, b: Vec<Inner>, c: WithField }
        enum WithField { A, B { x: u8 } }
        struct Maybe { a: u32, b: Option<Inner>, c: Choice }
    }
    let prints = [
        print_of::<Base>(),
        print_of::<Renamed>(),
        print_of::<Wider>(),
        print_of::<More>(),
        print_of::<OtherElement>(),
        print_of::<OtherFieldInElement>(),
        print_of::<OtherVariants>(),
        print_of::<OtherVariant>(),
        print_of::<OtherContent>(),
        print_of::<Maybe>(),
    ]
    .map(|print| print.to_string());
    let distinct: BTreeSet<_> = prints.iter().collect();
    assert_eq!(distinct.len(), prints.len(), "{prints:?}");
}

#[test]
fn names_of_types_boxes_and_unnamed_single_fields_do_not_count() {
    kind! {
        struct One { id: u64, parts: Vec<Part>, all: Vec<u8> }
        struct Part { x: u8 }
        struct Two { id: Id, parts: VecDeque<Rc<Piece>>, all: Box<[u8]> }
        struct Id(u64);
        struct Piece { x: u8 }
    }
    assert_eq!(print_of::<One>(), print_of::<Two>());
}

#[test]
fn the_element_of_a_generic_type_counts() {
    kind! {
        struct Page<T> { items: Vec<T>, kind: PhantomData<T> }
    }
    assert_eq!(text::<Page<u8>>(), "{items:[u8],kind:unit}");
    assert_ne!(print_of::<Page<u8>>(), print_of::<Page<u16>>());
    kind! {
        struct Two { a: Page<u8>, b: Page<u16> }
    }
    assert_eq!(
        text::<Two>(),
        "{a:{items:[u8],kind:unit},b:{items:[u16],kind:unit}}"
    );
}

#[test]
fn recursive_types_end() {
    kind! {
        struct Tree { value: u64, children: Vec<Tree>, after: u8 }
        struct List(Option<Box<List>>);
        enum Term { Add(Box<Term>, Box<Term>), Not { of: Box<Term> }, Number(i64) }
        enum Even { Zero, More(Box<Odd>) }
        enum Odd { More { before: Box<Even>, tag: Tag } }
        enum Tag { A, B }
    }
    assert_eq!(text::<Tree>(), "{value:u64,children:[^2],after:u8}");
    assert_eq!(text::<List>(), "option<^1>");
    assert_eq!(text::<Term>(), "<Add(^1*2),Not{of:^1},Number(i64)>");
    assert_eq!(
        text::<Even>(),
        "<Zero!,More(<More{before:^2,tag:<A!,B!>}>)>"
    );
}

#[test]
fn every_variant_is_found_wherever_it_is() {
    kind! {
        struct Root { first: Outer, list: Vec<Outer>, other: Deep }
        enum Outer { A(Inner), B { inner: Inner, deep: Deep }, C }
        enum Inner { P, Q(Deep), R }
        enum Deep { X, Y(Box<Root>), Z(Last) }
        enum Last { S, T, U(u8) }
    }
    let text = text::<Root>();
    for variant in [
        "A(", "B{", "C!", "P!", "Q(", "R!", "X!", "Y(", "Z(", "S!", "T!", "U(u8)",
    ] {
        assert!(text.contains(variant), "{variant} is missing in {text}");
    }
}

#[test]
fn arrays_and_tuples_count_their_elements() {
    assert_eq!(text::<[u8; 32]>(), "(u8*32)");
    assert_eq!(text::<(u8, u8, u16)>(), "(u8*2,u16)");
    assert_ne!(print_of::<[u8; 4]>(), print_of::<[u8; 5]>());
}

#[test]
fn a_skipped_field_does_not_count_and_an_alias_keeps_the_order() {
    kind! {
        struct Skipped { a: u8, #[serde(skip)] cache: u64, b: u16 }
        struct Alias { a: u64, #[serde(alias = "old")] b: u64 }
        struct Swapped { #[serde(alias = "old")] b: u64, a: u64 }
        enum Variants { A, #[serde(alias = "Old")] B(u8) }
    }
    assert_eq!(text::<Skipped>(), "{a:u8,b:u16}");
    assert_eq!(text::<Alias>(), "{a|b|old|u64*2}");
    assert_ne!(print_of::<Alias>(), print_of::<Swapped>());
    assert_eq!(text::<Variants>(), "<A|B|Old|!,(u8)>");
}

#[test]
fn types_that_refuse_some_values_are_tried_with_others() {
    #[derive(Deserialize)]
    #[serde(try_from = "u8")]
    struct Zero;
    impl TryFrom<u8> for Zero {
        type Error = &'static str;
        fn try_from(value: u8) -> Result<Self, Self::Error> {
            if value == 0 {
                Ok(Self)
            } else {
                Err("not zero")
            }
        }
    }
    kind! {
        struct State { id: NonZeroU64, text: JsonText, address: IpAddr, zero: Zero }
    }
    assert_eq!(
        text::<State>(),
        "{id:u64,text:string,address:<V4((u8*4)),V6((u8*16))>,zero:u8}"
    );
}

#[test]
fn a_type_that_refuses_every_value_is_an_error_with_its_reason() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "u8")]
    struct Even;
    impl TryFrom<u8> for Even {
        type Error = &'static str;
        fn try_from(_: u8) -> Result<Self, Self::Error> {
            Err("only 42 is even enough")
        }
    }
    let error = of::<Vec<Even>>().unwrap_err();
    assert!(
        error.to_string().contains("only 42 is even enough"),
        "{error}"
    );
    kind! {
        #[serde(untagged)]
        enum Untagged { A(u8), B(String) }
        struct Flat { #[serde(flatten)] rest: BTreeMap<String, u8> }
    }
    for error in [
        of::<serde_json::Value>().unwrap_err(),
        of::<Untagged>().unwrap_err(),
    ] {
        assert_eq!(error, TraceError::NotSupported);
    }
    of::<Flat>().unwrap_err();
    kind! {
        enum Never { Again(Box<Never>) }
    }
    assert_eq!(of::<Never>().unwrap_err(), TraceError::Endless);
}

#[test]
fn a_type_with_a_text_that_is_too_long_is_an_error() {
    kind! {
        // Boxed, so that no value is large on the stack.
        struct Twice<T> { a: Box<T>, b: Box<T> }
    }
    type P4<T> = Twice<Twice<Twice<Twice<T>>>>;
    type P16<T> = P4<P4<P4<P4<T>>>>;
    let error = of::<P16<Vec<P4<u64>>>>().unwrap_err();
    assert_eq!(error, TraceError::TooLarge);
}

#[test]
fn a_fingerprint_is_read_back() {
    let print = print_of::<Vec<u64>>();
    let text = print.to_string();
    assert_eq!(text.len(), "serde1:".len() + 8 + 1 + 16);
    assert_eq!(Fingerprint::parse(&text), Some(print));
    for other in [
        "",
        "tree-1",
        "serde2:0-0",
        "serde1:0",
        "serde1:x-0",
        "c:0-0",
    ] {
        assert_eq!(Fingerprint::parse(other), None, "{other}");
    }
}

/// The algorithm must not change under one scheme: clusters compare fingerprints that other releases computed.
#[test]
fn the_fingerprint_of_a_type_never_changes() {
    kind! {
        struct State { count: u64, last: Option<Event>, tree: Vec<Tree> }
        enum Event { Open, Closed { at_ms: u64 } }
        struct Tree { children: Vec<Tree> }
    }
    assert_eq!(
        text::<State>(),
        "{count:u64,last:option<<Open!,Closed{at_ms:u64}>>,tree:[{children:^2}]}"
    );
    assert_eq!(
        print_of::<State>().to_string(),
        "serde1:939992f0-88a8df28c8a36181"
    );
}

/// The text follows what is written: a value of the type and what the tracer found have the same parts.
#[test]
fn what_is_serialized_is_what_was_found() {
    #[derive(Serialize, Deserialize, Default)]
    struct State {
        a: u8,
        b: [u16; 3],
    }
    assert_eq!(text::<State>(), "{a:u8,b:(u16*3)}");
    let bytes = postcard::to_allocvec(&State::default()).unwrap();
    assert_eq!(bytes.len(), 4);
}
