use super::*;
use crate::testing::{SCRIPTED, counter, curious, faulty, kv, queue, scripted};

/// Scans a component whose only core module has these functions and globals.
fn scan(text: &str) -> Result<(), String> {
    fits(
        &wat::parse_str(format!(
            "(component (core module $m {text}) (core instance (instantiate $m)))"
        ))
        .unwrap(),
    )
}

/// Whether a function with this body restores a global.
fn restores(body: &str) -> bool {
    let fit = scan(&format!(
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
fn the_example_guests_can_have_images() {
    for module in [counter(), kv(), queue(), faulty()] {
        assert_eq!(
            *module.rollback_method(),
            crate::RollbackMethod::Images,
            "{module:?}"
        );
    }
}

#[test]
fn a_guest_with_state_in_a_global_can_not_have_images() {
    assert!(SCRIPTED.contains("(global $wrong (mut i32)"));
    let method = scripted().rollback_method().to_string();
    assert!(method.contains("mutable global"), "{method}");
}

#[test]
fn a_restored_stack_pointer_is_accepted() {
    assert!(restores(
        "(global.set $sp (local.tee $new (i32.sub (global.get $sp) (i32.const 16))))
         (call $other)
         (global.set $sp (i32.add (local.get $new) (i32.const 16)))
         (local.get $n)"
    ));
    // As for an array of dynamic length.
    assert!(restores(
        "(local.set $old (global.get $sp))
         (global.set $sp (i32.sub (global.get $sp) (local.get $n)))
         (call $other)
         (global.set $sp (local.get $old))
         (local.get $n)"
    ));
}

#[test]
fn branches_and_loops_are_followed() {
    assert!(restores(
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
    assert!(restores(
        "(global.set $sp (local.tee $new (i32.sub (global.get $sp) (i32.const 16))))
         (block $b (block $a (br_table $a $b (local.get $n))) unreachable)
         (global.set $sp (i32.add (local.get $new) (i32.const 16)))
         (local.get $n)"
    ));
}

#[test]
fn an_exit_with_a_changed_global_is_found() {
    for body in [
        // Always.
        "(global.set $sp (local.get $n)) (local.get $n)",
        "(global.set $sp (i32.add (global.get $sp) (i32.const 1))) (local.get $n)",
        // By an early return.
        "(global.set $sp (local.tee $new (i32.sub (global.get $sp) (i32.const 16))))
         (if (local.get $n) (then (return (i32.const 1))))
         (global.set $sp (i32.add (local.get $new) (i32.const 16)))
         (local.get $n)",
        // On one of two branches.
        "(if (local.get $n) (then (global.set $sp (i32.const 7)))) (local.get $n)",
        "(if (local.get $n) (then (call $other)) (else (global.set $sp (i32.const 7)))) (local.get $n)",
        // From the second iteration of a loop on.
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
        assert!(!restores(body), "{body}");
    }
}

#[test]
fn a_change_in_unreachable_code_does_not_count() {
    assert!(restores(
        "(return (local.get $n)) (global.set $sp (i32.const 7)) (local.get $n)"
    ));
}

#[test]
fn other_state_that_outlives_a_call_is_refused() {
    let why = |text: &str, expected: &str| {
        let reason = scan(text).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
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
    scan("(memory 1) (global i32 (i32.const 0)) (global (mut i64) (i64.const 0))").unwrap();
}

#[test]
fn component_parts_with_state_are_refused() {
    let why = |text: &str, expected: &str| {
        let reason = fits(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
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

fn refused_because(text: &str, expected: &str) {
    let reason = fits(&wat::parse_str(text).unwrap()).unwrap_err();
    assert!(reason.contains(expected), "{reason}");
}

#[test]
fn a_core_module_with_a_second_index_is_refused() {
    let why = refused_because;
    // By an alias to the enclosing component: the inner component instantiates the same module again.
    why(
        "(component $outer (core module $m (memory 1)) (core instance (instantiate $m))
           (component $c (alias outer $outer $m (core module $again)) (core instance (instantiate $again)))
           (instance (instantiate $c)))",
        "a second index by an alias",
    );
    // By an export, which has an index of its own.
    why(
        "(component (core module $m (memory 1)) (export $again \"m\" (core module $m))
           (core instance (instantiate $m)) (core instance (instantiate $again)))",
        "exports a core module",
    );
}

#[test]
fn a_core_module_of_an_import_is_refused() {
    let why = refused_because;
    // By itself, and by an alias to an instance.
    why(
        "(component (import \"m\" (core module $m)) (core instance (instantiate $m)))",
        "imports a core module",
    );
    why(
        "(component (import \"i\" (instance $i (export \"m\" (core module))))
           (alias export $i \"m\" (core module $m)) (core instance (instantiate $m)))",
        "a second index by an alias",
    );
}

#[test]
fn a_guest_whose_imports_return_owned_handles_can_not_have_images() {
    let method = curious().rollback_method().to_string();
    assert!(method.contains("owned handles"), "{method}");
    let of_imports = |result: &str| {
        fits(
            &wat::parse_str(format!(
                "(component
                   (import \"i\" (instance $i
                     (export \"r\" (type $r (sub resource)))
                     (type $handle ({result} $r))
                     (export \"f\" (func (param \"x\" $handle)))))
                   (core module $m (memory 1)) (core instance (instantiate $m)))"
            ))
            .unwrap(),
        )
    };
    assert!(of_imports("own").unwrap_err().contains("owned handles"));
    of_imports("borrow").unwrap();
}

#[test]
fn imports_of_a_core_module_are_found() {
    let core = wat::parse_str("(module (import \"wasi:cli/stdout@0.2.0\" \"f\" (func)))").unwrap();
    assert!(imports_from(|name| name.starts_with("wasi:"), &core));
    assert!(!imports_from(|name| name == "env", &core));
}
