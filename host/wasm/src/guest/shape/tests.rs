use wasm_encoder::{
    CodeSection, Component, CustomSection, Function, FunctionSection, Instruction, Module,
    ModuleSection, NestedComponentSection, TypeSection, ValType,
};

use super::*;
use crate::guest::check::CheckReason;
use crate::guest::engine::GuestEngine;
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;

/// A core module with these functions, all without parameters.
fn module(functions: &[Function]) -> Module {
    let (mut types, mut declared, mut code) = (
        TypeSection::new(),
        FunctionSection::new(),
        CodeSection::new(),
    );
    types.ty().function([], []);
    for function in functions {
        declared.function(0);
        code.function(function);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    module
}

fn nested(blocks: u64) -> Function {
    let mut function = Function::new([]);
    for _ in 0..blocks {
        function.instruction(&Instruction::Block(wasm_encoder::BlockType::Empty));
    }
    for _ in 0..=blocks {
        function.instruction(&Instruction::End);
    }
    function
}

fn with_locals(locals: u64) -> Function {
    let count = u32::try_from(locals).expect("a small number");
    let mut function = Function::new([(count, ValType::I32)]);
    function.instruction(&Instruction::End);
    function
}

/// A function whose body takes so many bytes.
fn of_bytes(bytes: u64) -> Function {
    let mut function = Function::new([]);
    // One byte for the number of groups of locals, one for the end.
    for _ in 0..bytes - 2 {
        function.instruction(&Instruction::Nop);
    }
    function.instruction(&Instruction::End);
    function
}

fn with_custom(sections: u64, bytes_of_each: u64) -> Vec<u8> {
    let data = vec![0; usize::try_from(bytes_of_each).expect("a small number")];
    let mut module = Module::new();
    for _ in 0..sections {
        module.section(&CustomSection {
            name: "note".into(),
            data: (&data).into(),
        });
    }
    module.finish()
}

fn with_modules(modules: u64) -> Vec<u8> {
    let mut component = Component::new();
    for _ in 0..modules {
        component.section(&ModuleSection(&module(&[])));
    }
    component.finish()
}

fn in_components(depth: u64) -> Vec<u8> {
    let mut component = Component::new();
    for _ in 0..depth {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&component));
        component = outer;
    }
    component.finish()
}

#[test]
fn each_limit_holds_exactly() {
    let functions = |count: u64| vec![nested(0); usize::try_from(count).expect("a small number")];
    let at = |limit| {
        [
            module(&functions(MAX_FUNCTIONS + limit)).finish(),
            module(&[nested(0), of_bytes(MAX_FUNCTION_BYTES + limit)]).finish(),
            module(&[with_locals(MAX_LOCALS + limit)]).finish(),
            module(&[nested(0), nested(1), nested(MAX_NESTING + limit)]).finish(),
            with_modules(MAX_MODULES + limit),
            in_components(MAX_MODULE_NESTING + limit),
            with_custom(MAX_CUSTOM_SECTIONS + limit, 1),
            with_custom(1, MAX_CUSTOM_BYTES + limit),
        ]
    };
    for (number, fits) in at(0).iter().enumerate() {
        assert_eq!(check(fits), Ok(()), "{number}");
    }
    let faults = at(1).map(|over| check(&over).expect_err("over the limit"));
    assert_eq!(
        faults,
        [
            ShapeFault::Functions,
            ShapeFault::FunctionBytes {
                function: 1,
                bytes: MAX_FUNCTION_BYTES + 1
            },
            ShapeFault::Locals {
                function: 0,
                locals: MAX_LOCALS + 1
            },
            ShapeFault::Nesting { function: 2 },
            ShapeFault::Modules,
            ShapeFault::Modules,
            ShapeFault::CustomSections,
            ShapeFault::CustomSections,
        ]
    );
}

#[test]
fn functions_of_all_modules_count_and_blocks_that_have_ended_do_not() {
    let half = usize::try_from(MAX_FUNCTIONS / 2 + 1).expect("a small number");
    let half = module(&vec![nested(0); half]);
    let mut component = Component::new();
    component.section(&ModuleSection(&half));
    assert_eq!(check(component.as_slice()), Ok(()));
    component.section(&ModuleSection(&half));
    assert_eq!(check(component.as_slice()), Err(ShapeFault::Functions));

    let mut one_after_the_other = Function::new([]);
    for _ in 0..2 * MAX_NESTING {
        one_after_the_other.instruction(&Instruction::Loop(wasm_encoder::BlockType::Empty));
        one_after_the_other.instruction(&Instruction::End);
    }
    one_after_the_other.instruction(&Instruction::End);
    assert_eq!(check(&module(&[one_after_the_other]).finish()), Ok(()));
}

#[test]
fn a_module_that_is_cut_off_or_is_no_module_is_left_to_the_validator() {
    let whole = module(&[nested(10)]).finish();
    for length in 0..whole.len() {
        assert_eq!(check(&whole[..length]), Ok(()));
    }
    assert_eq!(check(b"no module"), Ok(()));
}

#[test]
fn a_module_over_a_limit_is_refused_before_it_is_compiled_also_as_text() {
    let binary = module(&[with_locals(MAX_LOCALS + 1)]).finish();
    let locals = "i32 ".repeat(usize::try_from(MAX_LOCALS).expect("a small number") + 1);
    let text = format!("(module (func (local {locals})))").into_bytes();
    for bytes in [binary, text] {
        let loaded = GuestModule::load(
            &GuestEngine::new().expect("an engine"),
            bytes,
            &MachineLimits::default(),
        );
        let error = loaded.expect_err("refused");
        assert!(
            matches!(
                error.reasons[..],
                [CheckReason::Shape(ShapeFault::Locals { function: 0, .. })]
            ),
            "{error}"
        );
    }
}
