//! A core module of a component, as far as memory images depend on it.

use wasmparser::{ExternalKind, FunctionBody, Payload, SubType, TypeRef};

use super::fault::ScanFault;

/// Types, functions and globals of a core module.
#[derive(Default)]
pub(super) struct CoreModule<'a> {
    pub(super) types: Vec<SubType>,
    /// The type of each function, imported functions first.
    pub(super) functions: Vec<u32>,
    pub(super) imported_functions: usize,
    /// Whether each global is mutable, imported globals first.
    pub(super) globals: Vec<bool>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
}

impl<'a> CoreModule<'a> {
    /// Reads one part of the module, and counts its memories.
    pub(super) fn read(
        &mut self,
        payload: Payload<'a>,
        memories: &mut usize,
    ) -> Result<(), ScanFault> {
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

    /// Numbers of parameters and results of a function type.
    pub(super) fn arity(&self, ty: u32) -> Option<(usize, usize)> {
        match &self.types.get(ty as usize)?.composite_type.inner {
            wasmparser::CompositeInnerType::Func(ty) => {
                Some((ty.params().len(), ty.results().len()))
            }
            _ => None,
        }
    }
}
