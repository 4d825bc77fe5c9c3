use super::*;
use crate::testing::{SCRIPTED, counter, faulty, kv, queue, scripted};

/// Whether the core module with these functions and globals fits, as the only one of a component.
fn of(text: &str) -> Result<(), String> {
    fits(
        &wat::parse_str(format!(
            "(component (core module $m {text}) (core instance (instantiate $m)))"
        ))
        .unwrap(),
    )
}

/// Whether a function of this body leaves a global as it found it.
fn keeps(body: &str) -> bool {
    let fit = of(&format!(
        "(memory 1) (global $sp (mut i32) (i32.const 1024)) (func $other)
         (func (param $n i32) (result i32) (local $old i32) (local $new i32) {body})"
    ));
    match fit {
        Ok(()) => true,
        Err(reason) => {
            assert!(reason.contains("the mutable global 0"), "{reason}");
            false
        }
    }
}

#[test]
fn the_example_guests_fit() {
    for module in [counter(), kv(), queue(), faulty()] {
        assert_eq!(
            *module.rollback_method(),
            crate::RollbackMethod::Images,
            "{module:?}"
        );
    }
}

#[test]
fn a_guest_that_keeps_its_mood_in_a_global_does_not() {
    assert!(SCRIPTED.contains("(global $wrong (mut i32)"));
    let undo = scripted().rollback_method().to_string();
    assert!(undo.contains("mutable global"), "{undo}");
}

#[test]
fn a_stack_pointer_that_is_put_back_keeps_nothing() {
    assert!(keeps(
        "(global.set $sp (local.tee $new (i32.sub (global.get $sp) (i32.const 16))))
         (call $other)
         (global.set $sp (i32.add (local.get $new) (i32.const 16)))
         (local.get $n)"
    ));
    // As for an array whose length is not known before.
    assert!(keeps(
        "(local.set $old (global.get $sp))
         (global.set $sp (i32.sub (global.get $sp) (local.get $n)))
         (call $other)
         (global.set $sp (local.get $old))
         (local.get $n)"
    ));
}

#[test]
fn it_is_followed_through_branches_and_loops() {
    assert!(keeps(
        "(local.set $new (i32.sub (global.get $sp) (i32.const 16)))
         (global.set $sp (local.get $new))
         (block $done
           (loop $again
             (if (i32.eqz (local.get $n)) (then (br $done)) (else (call $other)))
             (local.set $n (i32.sub (local.get $n) (i32.const 1)))
             (br $again)))
         (global.set $sp (i32.add (local.get $new) (i32.const 16)))
         (local.get $n)"
    ));
    assert!(keeps(
        "(global.set $sp (local.tee $new (i32.sub (global.get $sp) (i32.const 16))))
         (block $b (block $a (br_table $a $b (local.get $n))) unreachable)
         (global.set $sp (i32.add (local.get $new) (i32.const 16)))
         (local.get $n)"
    ));
}

#[test]
fn a_way_out_that_leaves_it_changed_is_found() {
    for body in [
        // Always.
        "(global.set $sp (local.get $n)) (local.get $n)",
        "(global.set $sp (i32.add (global.get $sp) (i32.const 1))) (local.get $n)",
        // By an early return.
        "(global.set $sp (local.tee $new (i32.sub (global.get $sp) (i32.const 16))))
         (if (local.get $n) (then (return (i32.const 1))))
         (global.set $sp (i32.add (local.get $new) (i32.const 16)))
         (local.get $n)",
        // On one of two ways.
        "(if (local.get $n) (then (global.set $sp (i32.const 7)))) (local.get $n)",
        "(if (local.get $n) (then (call $other)) (else (global.set $sp (i32.const 7)))) (local.get $n)",
        // From the second round of a loop on.
        "(local.set $old (global.get $sp))
         (block $done
           (loop $again
             (global.set $sp (local.get $old))
             (br_if $done (i32.eqz (local.get $n)))
             (local.set $old (local.get $n))
             (br $again)))
         (local.get $n)",
        // By a jump to the function's end.
        "(global.set $sp (i32.const 3)) (br 0 (local.get $n))",
        "(global.set $sp (i32.const 3)) (br_table 0 0 (local.get $n) (local.get $n))",
    ] {
        assert!(!keeps(body), "{body}");
    }
}

#[test]
fn one_that_is_changed_in_code_that_is_never_reached_is_as_it_was() {
    assert!(keeps(
        "(return (local.get $n)) (global.set $sp (i32.const 7)) (local.get $n)"
    ));
}

#[test]
fn whatever_else_outlives_a_call_does_not_fit() {
    let why = |text: &str, words: &str| {
        let reason = of(text).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    };
    why("", "no memory");
    why("(memory 1) (memory 1)", "2 memories");
    why(
        "(memory 1) (global (export \"g\") (mut i32) (i32.const 0))",
        "exports a mutable global",
    );
    why(
        "(memory 1) (table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))",
        "changes a table",
    );
    why(
        "(memory 1) (table 1 funcref)
         (func (drop (table.grow (ref.null func) (i32.const 1))))",
        "changes a table",
    );
    why(
        "(memory 1) (data $d \"x\") (func (data.drop $d))",
        "drops a segment",
    );
    of("(memory 1) (global i32 (i32.const 0)) (global (mut i64) (i64.const 0))").unwrap();
}

#[test]
fn parts_of_a_component_that_keep_a_state_do_not_fit() {
    let why = |text: &str, words: &str| {
        let reason = fits(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    };
    why(
        "(component (core module $m (memory 1))
           (core instance (instantiate $m)) (core instance (instantiate $m)))",
        "instantiated twice",
    );
    why(
        "(component (type (resource (rep i32))) (core module $m (memory 1))
           (core instance (instantiate $m)))",
        "resources of its own",
    );
    why(
        "(component (component $c (core module $m (memory 1)) (core instance (instantiate $m)))
           (instance (instantiate $c)))",
        "a component within it",
    );
    assert!(
        fits(b"\0asm\x0d\0\x01\0\xff")
            .unwrap_err()
            .contains("could not be read")
    );
}
