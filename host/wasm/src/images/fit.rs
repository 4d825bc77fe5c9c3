//! Whether a guest's state between two calls is in its memory alone.
//!
//! An image has the linear memory. A new instance over it is in the state of the old one if everything else is as it is
//! in any new instance: mutable globals, tables, segments, handles. That is decided by reading the code, not by
//! names, which may be stripped and may lie:
//!
//! - one memory, of one instance of its module;
//! - no instruction that changes a table or drops a segment;
//! - no resources of its own, and of the canonical functions those that call and that drop what was borrowed;
//! - each mutable global is neither imported nor exported, and has at the end of every function the value that it had at
//!   its beginning ([`balance`]). That is so for the `__stack_pointer` of LLVM's compilers, and for nothing that is kept.

use std::collections::HashSet;

use wasmparser::{
    BinaryReaderError, CanonicalFunction, ComponentType, ExternalKind, FunctionBody, Instance,
    Operator, Parser, Payload, SubType, TypeRef,
};

mod balance;

/// Reads a component. The error says why its state can't be had as an image.
pub(crate) fn fits(component: &[u8]) -> Result<(), String> {
    let mut look = Scanner::default();
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(payload) => look.at(payload)?,
            Err(error) => return Err(format!("it could not be read: {error}")),
        }
    }
    match look.memories {
        1 => Ok(()),
        0 => Err("it has no memory".to_owned()),
        memories => Err(format!("it has {memories} memories")),
    }
}

/// Whether a core module imports anything of a module of that name. One that can't be read imports nothing.
pub(crate) fn imports_from(name: &str, core: &[u8]) -> bool {
    let sections = Parser::new(0).parse_all(core);
    let imports = sections.filter_map(|payload| match payload {
        Ok(Payload::ImportSection(imports)) => Some(imports),
        _ => None,
    });
    let mut all = imports.flat_map(wasmparser::ImportSectionReader::into_imports);
    all.any(|import| import.is_ok_and(|import| import.module == name))
}

/// What is being read: a component, or a core module in it.
#[derive(Default)]
struct Scanner<'a> {
    /// From the outermost component inwards.
    open: Vec<OpenSection<'a>>,
    memories: usize,
}

enum OpenSection<'a> {
    Component { instantiated: HashSet<u32> },
    Module(Box<CoreModule<'a>>),
}

/// A core module.
#[derive(Default)]
pub(super) struct CoreModule<'a> {
    pub(super) types: Vec<SubType>,
    /// The type of each function, the imported ones first.
    pub(super) functions: Vec<u32>,
    imported_functions: usize,
    /// Whether each global is mutable, the imported ones first.
    globals: Vec<bool>,
    bodies: Vec<FunctionBody<'a>>,
}

impl<'a> Scanner<'a> {
    fn at(&mut self, payload: Payload<'a>) -> Result<(), String> {
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
                Some(OpenSection::Module(core)) => core.check(),
                _ => Ok(()),
            },
            payload => match self.open.last_mut() {
                Some(OpenSection::Module(core)) => core.at(payload, &mut self.memories),
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

enum ScanFault {
    Unread(BinaryReaderError),
    Unfit(String),
}

impl From<BinaryReaderError> for ScanFault {
    fn from(error: BinaryReaderError) -> Self {
        Self::Unread(error)
    }
}

impl From<&str> for ScanFault {
    fn from(reason: &str) -> Self {
        Self::Unfit(reason.to_owned())
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
                if matches!(ty?, ComponentType::Resource { .. }) {
                    return Err("it has resources of its own".into());
                }
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
        _ => {}
    }
    Ok(())
}

impl<'a> CoreModule<'a> {
    fn at(&mut self, payload: Payload<'a>, memories: &mut usize) -> Result<(), ScanFault> {
        match payload {
            Payload::TypeSection(groups) => {
                for group in groups {
                    self.types.extend(group?.into_types());
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    match import?.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => self.functions.push(ty),
                        TypeRef::Global(ty) if ty.mutable => {
                            return Err("two of its modules share a mutable global".into());
                        }
                        TypeRef::Global(_) => self.globals.push(false),
                        _ => {}
                    }
                }
                self.imported_functions = self.functions.len();
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    if memory?.shared {
                        return Err("its memory is shared".into());
                    }
                    *memories += 1;
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    self.globals.push(global?.ty.mutable);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Global
                        && self.globals.get(export.index as usize) != Some(&false)
                    {
                        return Err("it exports a mutable global".into());
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    /// Looks at the code.
    fn check(&self) -> Result<(), String> {
        let mutable: Vec<u32> = (0..)
            .zip(&self.globals)
            .filter_map(|(global, mutable)| mutable.then_some(global))
            .collect();
        for (number, body) in self.bodies.iter().enumerate() {
            let function = self.imported_functions + number;
            let written = written(body)?;
            for global in mutable.iter().filter(|global| written.contains(global)) {
                let kept = balance::check(self, self.functions[function], body, *global)
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

    pub(super) fn arity(&self, ty: u32) -> Option<(usize, usize)> {
        match &self.types.get(ty as usize)?.composite_type.inner {
            wasmparser::CompositeInnerType::Func(ty) => {
                Some((ty.params().len(), ty.results().len()))
            }
            _ => None,
        }
    }
}

/// Which globals a function writes, where it changes nothing else that outlives a call.
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
