//! Whether a guest's state between two calls is in its linear memory alone.
//!
//! An image contains the linear memory. A new instance over it has the state of the old one only if everything else is
//! as in any new instance: mutable globals, tables, segments, handles. This is decided from the code, not from names,
//! which may be stripped or false:
//!
//! - one memory, and one instance of its module. No module has a second index: an alias, an import or an export of a
//!   module would give it one, and it could be instantiated under each;
//! - no instruction changes a table or drops a segment;
//! - no resources of its own, and of the canonical functions only those that call or that drop borrowed handles;
//! - no import returns owned handles, as streams of WASI are. The handle table belongs to the instance, so the handle
//!   numbers in the memory would be of no use to a new one;
//! - each mutable global is neither imported nor exported, and has the same value at the end of every function as at its
//!   beginning ([`balance`]). That holds for the `__stack_pointer` of LLVM, but not for a global that keeps state.

use std::collections::HashSet;

use wasmparser::{
    BinaryReaderError, CanonicalFunction, FunctionBody, Instance, Operator, Parser, Payload,
};

mod balance;
mod core_module;
mod fault;
mod handles;
mod second_index;

use core_module::CoreModule;
use fault::ScanFault;

/// Scans a component. The error is the reason why images are not possible.
pub(crate) fn fits(component: &[u8]) -> Result<(), String> {
    let mut scanner = Scanner::default();
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(payload) => scanner.read(payload)?,
            Err(error) => return Err(format!("it could not be read: {error}")),
        }
    }
    match scanner.memories {
        1 => Ok(()),
        0 => Err("it has no memory".to_owned()),
        memories => Err(format!("it has {memories} memories")),
    }
}

/// Whether a core module imports from a module that `is_named`. `false` if the bytes can't be parsed.
pub(crate) fn imports_from(is_named: impl Fn(&str) -> bool, core: &[u8]) -> bool {
    let sections = Parser::new(0).parse_all(core);
    let imports = sections.filter_map(|payload| match payload {
        Ok(Payload::ImportSection(imports)) => Some(imports),
        _ => None,
    });
    let mut all = imports.flat_map(wasmparser::ImportSectionReader::into_imports);
    all.any(|import| import.is_ok_and(|import| is_named(import.module)))
}

/// The state of the scan.
#[derive(Default)]
struct Scanner<'a> {
    /// Open components and modules, from the outermost inwards.
    open: Vec<OpenSection<'a>>,
    memories: usize,
}

enum OpenSection<'a> {
    Component { instantiated: HashSet<u32> },
    Module(Box<CoreModule<'a>>),
}

impl<'a> Scanner<'a> {
    fn read(&mut self, payload: Payload<'a>) -> Result<(), String> {
        let unread = |error: BinaryReaderError| format!("it could not be read: {error}");
        match payload {
            Payload::Version { encoding, .. } => {
                let open = match encoding {
                    wasmparser::Encoding::Module => OpenSection::Module(Box::default()),
                    wasmparser::Encoding::Component => OpenSection::Component {
                        instantiated: HashSet::new(),
                    },
                };
                self.open.push(open);
                let modules = matches!(self.open.last(), Some(OpenSection::Module(_)));
                if modules && self.open.len() > 2 {
                    return Err("a component within it has code of its own".to_owned());
                }
                Ok(())
            }
            Payload::End(_) => match self.open.pop() {
                Some(OpenSection::Module(core)) => check_code(&core),
                _ => Ok(()),
            },
            payload => match self.open.last_mut() {
                Some(OpenSection::Module(core)) => core.read(payload, &mut self.memories),
                Some(OpenSection::Component { instantiated }) => component(payload, instantiated),
                None => Ok(()),
            }
            .map_err(|error| match error {
                ScanFault::Unread(error) => unread(error),
                ScanFault::Unfit(reason) => reason,
            }),
        }
    }
}

fn component(payload: Payload<'_>, instantiated: &mut HashSet<u32>) -> Result<(), ScanFault> {
    match payload {
        Payload::InstanceSection(instances) => {
            for instance in instances {
                if let Instance::Instantiate { module_index, .. } = instance?
                    && !instantiated.insert(module_index)
                {
                    return Err("a module in it is instantiated twice".into());
                }
            }
        }
        Payload::ComponentTypeSection(types) => {
            for ty in types {
                handles::check(&ty?)?;
            }
        }
        Payload::ComponentCanonicalSection(functions) => {
            for function in functions {
                match function? {
                    CanonicalFunction::Lift { .. }
                    | CanonicalFunction::Lower { .. }
                    | CanonicalFunction::ResourceDrop { .. } => {}
                    _ => {
                        return Err(
                            "it uses functions of the component model that keep a state".into()
                        );
                    }
                }
            }
        }
        payload => second_index::check(payload)?,
    }
    Ok(())
}

/// Checks that no function of a module changes state outside of memory.
fn check_code(module: &CoreModule<'_>) -> Result<(), String> {
    let mutable: Vec<u32> = (0..)
        .zip(&module.globals)
        .filter_map(|(global, mutable)| mutable.then_some(global))
        .collect();
    for (number, body) in module.bodies.iter().enumerate() {
        let function = module.imported_functions + number;
        let written = written(body)?;
        for global in mutable.iter().filter(|global| written.contains(global)) {
            let kept = balance::check(module, module.functions[function], body, *global)
                .map_err(|error| format!("it could not be read: {error}"))?;
            if !kept {
                return Err(format!(
                    "it may keep something in the mutable global {global}, which function {function} changes"
                ));
            }
        }
    }
    Ok(())
}

/// The globals that a function writes. The error is a change of other state that outlives the call.
fn written(body: &FunctionBody<'_>) -> Result<HashSet<u32>, String> {
    let mut written = HashSet::new();
    let unread = |error: BinaryReaderError| format!("it could not be read: {error}");
    for operator in body.get_operators_reader().map_err(unread)? {
        match operator.map_err(unread)? {
            Operator::GlobalSet { global_index } => {
                written.insert(global_index);
            }
            Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => return Err("it changes a table".to_owned()),
            Operator::ElemDrop { .. } | Operator::DataDrop { .. } => {
                return Err("it drops a segment".to_owned());
            }
            _ => {}
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
