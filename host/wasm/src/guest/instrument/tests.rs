//! Graphs and instrumented guests from text.

use std::sync::Arc;

use super::call_graph::CallGraph;
use super::linking;
use crate::guest::call::{CallPurpose, Callers};
use crate::guest::failure::GuestCallError;
use crate::guest::guest_log::GuestLog;
use crate::guest::instance::{Batch, Instance};
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::guest::semantics::GuestSemantics;
use crate::records::failure::GuestFailure;
use crate::testing;

fn bounded() -> MachineLimits {
    MachineLimits {
        semantics: GuestSemantics::BoundedStack,
        ..testing::limits()
    }
}

/// Names of the counted functions of the component of one core module, which imports and exports nothing. The name of
/// a function is its position in the alphabet.
fn counted(functions: &str) -> String {
    let component = format!(
        "(component (core module $m (type $unit (func)) (table $t 8 funcref) {functions}) (core instance (instantiate $m)))"
    );
    counted_of(&component)
}

fn counted_of(component: &str) -> String {
    let bytes = wat::parse_str(component).unwrap();
    let components = linking::components(&bytes).unwrap();
    let letters = components.iter().flat_map(|component| {
        let recursive = CallGraph::of(component).analyze().recursive;
        ('a'..='z').zip(recursive)
    });
    letters
        .filter(|(_, is)| *is)
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn only_functions_on_a_cycle_are_counted() {
    assert_eq!(counted("(func) (func call 0)"), "");
    assert_eq!(counted("(func call 0) (func call 0) (func)"), "a");
    assert_eq!(counted("(func call 1) (func call 2) (func call 1)"), "bc");
    assert_eq!(counted("(func return_call 1) (func return_call 0)"), "ab");
}

#[test]
fn a_call_through_a_table_reaches_the_functions_of_its_type_there() {
    let indirect = "(call_indirect (type $unit) (i32.const 0))";
    // `a` is in the table and calls through it.
    assert_eq!(
        counted(&format!("(elem (i32.const 0) 0) (func {indirect})")),
        "a"
    );
    // `b` is in the table, and `a` is not.
    assert_eq!(
        counted(&format!("(elem (i32.const 0) 1) (func {indirect}) (func)")),
        ""
    );
    // `b` calls `a` back.
    assert_eq!(
        counted(&format!(
            "(elem (i32.const 0) 1) (func {indirect}) (func call 0)"
        )),
        "ab"
    );
    // Another type.
    let other = "(call_indirect (param i32) (i32.const 1) (i32.const 0))";
    assert_eq!(
        counted(&format!("(elem (i32.const 0) 0) (func {other})")),
        ""
    );
    // Another table.
    let table =
        format!("(table $u 8 funcref) (elem (table $u) (i32.const 0) func 0) (func {indirect})");
    assert_eq!(counted(&table), "");
    // A passive segment may be copied to any table.
    assert_eq!(counted(&format!("(elem func 0) (func {indirect})")), "a");
}

#[test]
fn elements_that_are_moved_may_be_in_any_table() {
    let moved = |instruction: &str| {
        counted(&format!(
            "(table $u 8 funcref) (elem declare func 0)
             (func {instruction} (call 1))
             (func (call_indirect (type $unit) (i32.const 0)))"
        ))
    };
    assert_eq!(moved(""), "");
    assert_eq!(moved("(table.set $u (i32.const 0) (ref.func 0))"), "ab");
    assert_eq!(
        moved("(table.copy $t $u (i32.const 0) (i32.const 0) (i32.const 1))"),
        "ab"
    );
}

#[test]
fn a_cycle_through_two_modules_is_found() {
    let text = r#"(component
        (core module $m
          (import "t" "t" (table 1 funcref))
          (type $unit (func))
          (func (export "a") (call_indirect (type $unit) (i32.const 0))))
        (core module $n
          (import "m" "a" (func $a))
          (import "t" "t" (table 1 funcref))
          (elem (i32.const 0) 1)
          (func call $a))
        (core module $t (table (export "t") 1 funcref))
        (core instance $t (instantiate $t))
        (core instance $m (instantiate $m (with "t" (instance $t))))
        (core instance $n (instantiate $n (with "m" (instance $m)) (with "t" (instance $t)))))"#;
    assert_eq!(counted_of(text), "ab");
}

#[test]
fn a_module_that_another_component_may_instantiate_is_taken_as_open() {
    let text = r#"(component
        (core module $m
          (import "x" "f" (func $f))
          (func (export "a") call $f)
          (func call $f)))"#;
    assert_eq!(counted_of(text), "a");
}

#[test]
fn the_frame_covers_locals_operands_and_arguments() {
    let frame = |function: &str| {
        let text = format!("(component (core module (func $many (param i64 i64 i64)) {function}))");
        let bytes = wat::parse_str(&text).unwrap();
        let components = linking::components(&bytes).unwrap();
        components[0].modules[0].functions[1].frame
    };
    let empty = frame("(func)");
    assert_eq!(frame("(func (param i32) (local i64 f32))"), empty + 24);
    assert_eq!(frame("(func (local v128))"), empty + 16);
    let operands = "i64.const 1 i64.const 2 i64.const 3";
    assert_eq!(frame(&format!("(func {operands} call $many)")), empty + 48);
    // After a jump the operands are gone.
    let jump = format!("(func (block {operands} br 0) {operands} call $many)");
    assert_eq!(frame(&jump), empty + 48);
}

/// Runs one command on `scripted` with this body of the function `$overflow`, under these limits.
fn overflow(body: &str, limits: &MachineLimits) -> Result<(), GuestFailure> {
    let before =
        "(i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1))))";
    assert!(testing::SCRIPTED.contains(before));
    let text = testing::SCRIPTED.replace(before, body);
    let module = GuestModule::load(testing::engine(), testing::core_module(&text), limits).unwrap();
    run(&module, limits, b"s")
}

fn run(module: &GuestModule, limits: &MachineLimits, command: &[u8]) -> Result<(), GuestFailure> {
    let mut instance = Instance::start(module, limits, &Arc::new(GuestLog::new())).unwrap();
    let batch = Batch {
        data: command.to_vec(),
        ends: vec![command.len() as u32],
    };
    match instance.apply(
        CallPurpose::Change,
        testing::at(1),
        0,
        &batch,
        &Callers::none(),
    ) {
        Ok(_) => Ok(()),
        Err(GuestCallError::Guest(failure)) => Err(failure),
        Err(other) => panic!("{other}"),
    }
}

const TOO_DEEP: Result<(), GuestFailure> = Err(GuestFailure::TooDeep { limit: 16 << 20 });

/// Shapes of a frame, each with a call of itself in it.
fn shapes() -> Vec<String> {
    let call = "(call $overflow (i32.add (local.get $depth) (i32.const 1)))";
    let wide = |n: usize| {
        // Operands that are computed before the call and used after it.
        let before: String = (0..n)
            .map(|i| format!("(i32.load (i32.const {})) ", 4 * i))
            .collect();
        format!("{before} {call} {}", "i32.add ".repeat(n))
    };
    vec![
        format!("(i32.add (i32.const 1) {call})"),
        wide(20),
        wide(500),
        format!("(block (result i32) (br 0 {call}))"),
        format!("(if (result i32) (local.get $depth) (then (return {call})) (else (br 1 {call})))"),
        format!(
            "(loop (result i32) (br_if 1 (local.get $depth) {call}) {call} i32.add (br_if 0 (local.get $depth)))"
        ),
    ]
}

#[test]
fn recursion_without_an_end_is_the_same_failure_for_every_shape_of_frame() {
    for limit in [1 << 16, 16 << 20] {
        let limits = MachineLimits {
            stack_bytes: limit,
            ..bounded()
        };
        for shape in shapes() {
            assert_eq!(
                overflow(&shape, &limits),
                Err(GuestFailure::TooDeep { limit }),
                "{shape}"
            );
        }
    }
}

#[test]
fn without_the_rules_the_same_recursion_overflows_the_stack_of_the_machine() {
    assert_eq!(
        overflow(&shapes()[0], &testing::limits()),
        Err(GuestFailure::StackOverflow)
    );
}

#[test]
fn a_return_gives_the_stack_back_however_the_function_is_left() {
    // Each leaves the function in another way, at a depth of 3, a million times.
    let ways = [
        "(if (result i32) (i32.lt_u (local.get $depth) (i32.const 3)) (then (call $overflow (i32.add (local.get $depth) (i32.const 1)))) (else (i32.const 1)))",
        "(block (drop (br_if 1 (i32.const 1) (i32.ge_u (local.get $depth) (i32.const 3))))) (return (call $overflow (i32.add (local.get $depth) (i32.const 1))))",
        "(block (block (br_table 0 1 (i32.ge_u (local.get $depth) (i32.const 3)))) (return (call $overflow (i32.add (local.get $depth) (i32.const 1))))) (i32.const 5)",
        "(if (i32.ge_u (local.get $depth) (i32.const 3)) (then (return (i32.const 1)))) (return_call $overflow (i32.add (local.get $depth) (i32.const 1)))",
    ];
    let limits = MachineLimits {
        stack_bytes: 4096,
        fuel_per_command: u64::MAX,
        ..bounded()
    };
    for way in ways {
        let text = testing::SCRIPTED.replace(
            "(i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1))))",
            way,
        );
        // The command `s` calls it often.
        let before = "(func $spin (loop $again (br $again)))";
        assert!(text.contains(before));
        let text = text.replace(
            before,
            "(func $spin (local $n i32) (loop $again (drop (call $overflow (i32.const 0))) (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000)))))",
        );
        let module =
            GuestModule::load(testing::engine(), testing::core_module(&text), &limits).unwrap();
        let outcome = run(&module, &limits, b"v");
        assert!(
            !matches!(outcome, Err(GuestFailure::TooDeep { .. })),
            "{way}: {outcome:?}"
        );
    }
}

#[test]
fn a_module_is_compiled_once_for_each_set_of_rules() {
    let native = testing::scripted();
    let limits = bounded();
    let variant = native.under(&limits).unwrap();
    assert_eq!(variant.sha256(), native.sha256());
    assert_eq!(run(&variant, &limits, b"s"), TOO_DEEP);
    assert_eq!(
        run(&native, &testing::limits(), b"s"),
        Err(GuestFailure::StackOverflow)
    );
    assert_eq!(native.under(&limits).unwrap().rules(), variant.rules());
    assert_eq!(
        variant.under(&testing::limits()).unwrap().rules(),
        native.rules()
    );
}

/// A function with 12,000 callees in a row, each with a large frame, that are on no cycle.
#[test]
fn a_long_path_of_calls_without_a_cycle_is_counted_as_well() {
    let locals = "i64 ".repeat(400);
    let mut chain = String::new();
    for i in 0..12_000 {
        let next = i + 1;
        chain.push_str(&format!(
            "(func $c{i} (param i32) (result i32) (local {locals}) (i32.add (i32.const 1) (call $c{next} (local.get 0))))"
        ));
    }
    chain.push_str("(func $c12000 (param i32) (result i32) (local.get 0))");
    let limits = bounded();
    let text = testing::SCRIPTED.replace(
        "(i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1))))",
        "(call $c0 (local.get $depth))",
    );
    let end = text.rfind(')').unwrap();
    let text = format!("{}{chain})", &text[..end]);
    let module =
        GuestModule::load(testing::engine(), testing::core_module(&text), &limits).unwrap();
    assert_eq!(run(&module, &limits, b"s"), TOO_DEEP);
}

#[test]
fn recursion_in_the_start_function_refuses_the_module() {
    let end = testing::SCRIPTED.rfind(')').unwrap();
    let text = format!(
        "{} (func $begin (drop (call $overflow (i32.const 0)))) (start $begin))",
        &testing::SCRIPTED[..end]
    );
    let refused = GuestModule::load(testing::engine(), testing::core_module(&text), &bounded());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("recursed too deep"), "{error}");
}
