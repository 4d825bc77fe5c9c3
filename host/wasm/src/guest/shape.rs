//! The shape of a module: how many functions, locals, nested blocks and sections it has. A scan that needs little time and no
//! memory refuses what compilers are not built for, before the module is compiled.
//!
//! The limits are several times those of the largest guests that are known: the runtimes of JavaScript and Python have up to
//! 20,000 functions, 430 KB in one function, and 500 locals.

use thiserror::Error;
use wasmparser::{FunctionBody, Operator, Parser, Payload};

/// Most functions of all core modules.
const MAX_FUNCTIONS: u64 = 100_000;
/// Largest function, in bytes.
const MAX_FUNCTION_BYTES: u64 = 2 << 20;
/// Most local variables of a function.
const MAX_LOCALS: u64 = 10_000;
/// Most blocks that are nested in each other.
const MAX_NESTING: u64 = 4096;
/// Most core modules and components, and how deep they may be nested.
const MAX_MODULES: u64 = 256;
/// How deep components may be nested.
const MAX_MODULE_NESTING: u64 = 16;
/// Most custom sections.
const MAX_CUSTOM_SECTIONS: u64 = 1000;
/// Most bytes of all custom sections.
const MAX_CUSTOM_BYTES: u64 = 32 << 20;

/// A module has too much of something.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeFault {
    /// More functions than `MAX_FUNCTIONS`.
    #[error(
        "the module has more than {MAX_FUNCTIONS} functions; leave out code that the guest does not use"
    )]
    Functions,
    /// A function with more bytes than `MAX_FUNCTION_BYTES`.
    #[error(
        "function {function} of a core module takes {bytes} bytes, but {MAX_FUNCTION_BYTES} is the limit; divide it into several functions"
    )]
    FunctionBytes {
        /// Its position in the code section, from 0.
        function: u64,
        /// Its size.
        bytes: u64,
    },
    /// A function with more local variables than `MAX_LOCALS`.
    #[error(
        "function {function} of a core module has {locals} local variables, but {MAX_LOCALS} is the limit; divide it into several functions, or build it with optimization"
    )]
    Locals {
        /// Its position in the code section, from 0.
        function: u64,
        /// Its local variables.
        locals: u64,
    },
    /// Blocks that are nested deeper than `MAX_NESTING`.
    #[error(
        "in function {function} of a core module, more than {MAX_NESTING} blocks are nested in each other; divide it into several functions"
    )]
    Nesting {
        /// Its position in the code section, from 0.
        function: u64,
    },
    /// More modules and components than `MAX_MODULES`, or nested deeper than `MAX_MODULE_NESTING`.
    #[error(
        "the component has more than {MAX_MODULES} modules and components, or nests them deeper than {MAX_MODULE_NESTING}; link them before"
    )]
    Modules,
    /// More custom sections than `MAX_CUSTOM_SECTIONS`, or more bytes of them than `MAX_CUSTOM_BYTES`.
    #[error(
        "the module has more than {MAX_CUSTOM_SECTIONS} custom sections, or more than {MAX_CUSTOM_BYTES} bytes of them; remove debug information with `wasm-tools strip`"
    )]
    CustomSections,
}

/// Checks the shape of a module or component. What the parser does not accept is left to the validator, which names it.
///
/// # Errors
/// The first fault.
pub(super) fn check(binary: &[u8]) -> Result<(), ShapeFault> {
    let mut shape = Shape::default();
    let mut payloads = Parser::new(0).parse_all(binary).map_while(Result::ok);
    payloads.try_for_each(|part| shape.add(&part))
}

#[derive(Debug, Default)]
struct Shape {
    functions: u64,
    /// The next function of the current core module.
    function: u64,
    modules: u64,
    nesting: u64,
    custom_sections: u64,
    custom_bytes: u64,
}

impl Shape {
    fn add(&mut self, part: &Payload<'_>) -> Result<(), ShapeFault> {
        match part {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.modules += 1;
                self.nesting += 1;
                within(self.modules, MAX_MODULES, ShapeFault::Modules)?;
                within(self.nesting, MAX_MODULE_NESTING, ShapeFault::Modules)
            }
            Payload::End(_) => {
                self.nesting = self.nesting.saturating_sub(1);
                Ok(())
            }
            Payload::CustomSection(section) => {
                self.custom_sections += 1;
                self.custom_bytes += section.data().len() as u64;
                let fault = ShapeFault::CustomSections;
                within(self.custom_sections, MAX_CUSTOM_SECTIONS, fault.clone())?;
                within(self.custom_bytes, MAX_CUSTOM_BYTES, fault)
            }
            Payload::CodeSectionStart { count, .. } => {
                self.function = 0;
                self.functions += u64::from(*count);
                within(self.functions, MAX_FUNCTIONS, ShapeFault::Functions)
            }
            Payload::CodeSectionEntry(body) => {
                let function = self.function;
                self.function += 1;
                check_function(function, body)
            }
            _ => Ok(()),
        }
    }
}

fn within(found: u64, limit: u64, fault: ShapeFault) -> Result<(), ShapeFault> {
    if found > limit { Err(fault) } else { Ok(()) }
}

fn check_function(function: u64, body: &FunctionBody<'_>) -> Result<(), ShapeFault> {
    let bytes = body.as_bytes().len() as u64;
    let fault = ShapeFault::FunctionBytes { function, bytes };
    within(bytes, MAX_FUNCTION_BYTES, fault)?;
    let locals = body.get_locals_reader().into_iter().flatten();
    let locals = locals.map_while(Result::ok);
    let locals = locals.map(|(count, _)| u64::from(count)).sum();
    let fault = ShapeFault::Locals { function, locals };
    within(locals, MAX_LOCALS, fault)?;
    let operators = body.get_operators_reader().into_iter().flatten();
    let mut nesting = 0_u64;
    for operator in operators.map_while(Result::ok) {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => {
                nesting += 1;
                within(nesting, MAX_NESTING, ShapeFault::Nesting { function })?;
            }
            Operator::End => nesting = nesting.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
