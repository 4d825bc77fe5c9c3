//! Writes an instrumented core module.
//!
//! A counted function becomes:
//!
//! ```text
//! used = counter + cost; if used > limit { call too_deep }
//! counter = used
//! block { the function as it was; `return` leaves the block }
//! counter = counter - cost
//! ```
//!
//! A tail call subtracts the cost before it.

use std::collections::BTreeMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, Function, FunctionSection, GlobalType, ImportSection, Instruction,
    Module, NameMap, NameSection, SectionId, TypeSection, ValType,
};
use wasmparser::{CompositeInnerType, FuncType, FunctionBody, Operator, Parser, SubType};

type Error = reencode::Error<Infallible>;

/// Name of the function that a counted function calls at the limit. It traps, and the engine's backtrace names it.
pub(in crate::guest) const TOO_DEEP: &str = "oarlock: stack limit";

/// Names of the counter: a module of its own and the global that it exports.
pub(super) const COUNTER_MODULE: &str = "oarlock:stack";
pub(super) const COUNTER: &str = "used";

pub(super) fn counter_type() -> GlobalType {
    GlobalType {
        val_type: ValType::I32,
        mutable: true,
        shared: false,
    }
}

/// Instruments the functions that have a cost. Only drops the custom sections if none has.
pub(super) fn rewrite(
    parser: Parser,
    bytes: &[u8],
    costs: &[Option<u32>],
    limit: u32,
) -> Result<Module, Error> {
    let mut module = Module::new();
    let mut rewriter = ModuleRewriter {
        costs,
        limit,
        counts: costs.iter().any(Option::is_some),
        ..ModuleRewriter::default()
    };
    utils::parse_core_module(&mut rewriter, &mut module, parser, bytes)?;
    if rewriter.counts {
        let mut names = NameMap::new();
        names.append(rewriter.too_deep(), TOO_DEEP);
        let mut section = NameSection::new();
        section.functions(&names);
        module.section(&section);
    }
    Ok(module)
}

#[derive(Default)]
struct ModuleRewriter<'p> {
    costs: &'p [Option<u32>],
    limit: u32,
    /// Whether any function has a cost.
    counts: bool,
    types: Vec<SubType>,
    /// Types that were added for blocks with several results, by their results.
    block_types: BTreeMap<Vec<u8>, u32>,
    /// Type of a function without parameters and results.
    empty_type: u32,
    imports_written: bool,
    imported_functions: u32,
    imported_globals: u32,
    /// The type of each function of the module itself.
    functions: Vec<u32>,
    /// Functions whose body was written.
    written: usize,
}

impl ModuleRewriter<'_> {
    /// Index of the function that traps at the limit: the last one.
    fn too_deep(&self) -> u32 {
        // A module has fewer than 2^32 functions.
        self.imported_functions + self.functions.len() as u32
    }

    /// Index of the counter: the last imported global.
    fn counter(&self) -> u32 {
        self.imported_globals
    }

    fn signature(&self, ty: u32) -> Option<&FuncType> {
        match &self.types.get(ty as usize)?.composite_type.inner {
            CompositeInnerType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    fn add_types(&mut self, types: &mut TypeSection) -> Result<(), Error> {
        let mut next = self.types.len() as u32;
        types.ty().function([], []);
        self.empty_type = next;
        let results: Vec<Vec<wasmparser::ValType>> = self
            .types
            .iter()
            .filter_map(|ty| match &ty.composite_type.inner {
                CompositeInnerType::Func(ty) if ty.results().len() > 1 => {
                    Some(ty.results().to_vec())
                }
                _ => None,
            })
            .collect();
        for results in results {
            let key = format!("{results:?}").into_bytes();
            if self.block_types.contains_key(&key) {
                continue;
            }
            let types_of: Result<Vec<ValType>, Error> =
                results.into_iter().map(|ty| self.val_type(ty)).collect();
            types.ty().function([], types_of?);
            next += 1;
            self.block_types.insert(key, next);
        }
        Ok(())
    }

    fn add_import(&mut self, imports: &mut ImportSection) {
        imports.import(COUNTER_MODULE, COUNTER, counter_type());
        self.imports_written = true;
    }

    /// The type of a block with the results of the function.
    fn block_type_of(&mut self, ty: u32) -> Result<BlockType, Error> {
        let results = self.signature(ty).map_or(&[][..], FuncType::results);
        Ok(match results {
            [] => BlockType::Empty,
            [one] => {
                let one = *one;
                BlockType::Result(self.val_type(one)?)
            }
            several => {
                let key = format!("{several:?}").into_bytes();
                let known = self.block_types.get(&key).copied();
                BlockType::FunctionType(known.unwrap_or(self.empty_type))
            }
        })
    }

    fn counted_body(
        &mut self,
        body: &FunctionBody<'_>,
        ty: u32,
        cost: u32,
    ) -> Result<Function, Error> {
        let (mut locals, mut used) = (Vec::new(), 0);
        if let Some(ty) = self.signature(ty) {
            used = ty.params().len() as u32;
        }
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            used += count;
            locals.push((count, self.val_type(ty)?));
        }
        locals.push((1, ValType::I32));
        let mut function = Function::new(locals);
        self.enter(&mut function, used, cost);
        function.instruction(&Instruction::Block(self.block_type_of(ty)?));
        let mut reader = body.get_operators_reader()?;
        // Blocks that are open in the function itself.
        let mut depth = 0;
        while !reader.eof() {
            let operator = reader.read()?;
            match &operator {
                Operator::Return => {
                    function.instruction(&Instruction::Br(depth));
                    continue;
                }
                Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => self.leave(&mut function, cost),
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => depth += 1,
                // The last one, of the function itself, ends the block.
                Operator::End => depth = u32::saturating_sub(depth, 1),
                _ => {}
            }
            function.instruction(&self.instruction(operator)?);
        }
        self.leave(&mut function, cost);
        function.instruction(&Instruction::End);
        Ok(function)
    }

    /// The code at the beginning of a counted function.
    fn enter(&self, function: &mut Function, used: u32, cost: u32) {
        function
            .instruction(&Instruction::GlobalGet(self.counter()))
            .instruction(&number(cost))
            .instruction(&Instruction::I32Add)
            .instruction(&Instruction::LocalTee(used))
            .instruction(&number(self.limit))
            .instruction(&Instruction::I32GtU)
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&Instruction::Call(self.too_deep()))
            .instruction(&Instruction::Unreachable)
            .instruction(&Instruction::End)
            .instruction(&Instruction::LocalGet(used))
            .instruction(&Instruction::GlobalSet(self.counter()));
    }

    fn leave(&self, function: &mut Function, cost: u32) {
        function
            .instruction(&Instruction::GlobalGet(self.counter()))
            .instruction(&number(cost))
            .instruction(&Instruction::I32Sub)
            .instruction(&Instruction::GlobalSet(self.counter()));
    }
}

/// A constant below 2^31, which all costs and limits are.
fn number(value: u32) -> Instruction<'static> {
    Instruction::I32Const(value as i32)
}

impl Reencode for ModuleRewriter<'_> {
    type Error = Infallible;

    fn global_index(&mut self, global: u32) -> Result<u32, Error> {
        let shift = u32::from(self.counts && global >= self.imported_globals);
        Ok(global + shift)
    }

    fn parse_custom_section(
        &mut self,
        _module: &mut Module,
        _section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Error> {
        for group in section.clone() {
            self.types.extend(group?.into_types());
        }
        utils::parse_type_section(self, types, section)?;
        if self.counts {
            self.add_types(types)?;
        }
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error> {
        for import in section.clone().into_imports() {
            match import?.ty {
                wasmparser::TypeRef::Func(_) | wasmparser::TypeRef::FuncExact(_) => {
                    self.imported_functions += 1;
                }
                wasmparser::TypeRef::Global(_) => self.imported_globals += 1,
                _ => {}
            }
        }
        utils::parse_import_section(self, imports, section)?;
        if self.counts {
            self.add_import(imports);
        }
        Ok(())
    }

    /// Writes the imports of a module that has none itself.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error> {
        let is_later = !matches!(before, Some(SectionId::Type | SectionId::Import));
        if self.counts && !self.imports_written && is_later {
            let mut imports = ImportSection::new();
            self.add_import(&mut imports);
            module.section(&imports);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        for ty in section.clone() {
            self.functions.push(ty?);
        }
        utils::parse_function_section(self, functions, section)?;
        if self.counts {
            functions.function(self.empty_type);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_code_section(self, code, section)?;
        if self.counts {
            let mut too_deep = Function::new([]);
            too_deep
                .instruction(&Instruction::Unreachable)
                .instruction(&Instruction::End);
            code.function(&too_deep);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let number = self.written;
        self.written += 1;
        let Some(cost) = self.costs.get(number).copied().flatten() else {
            return utils::parse_function_body(self, code, body);
        };
        let ty = self.functions.get(number).copied().unwrap_or_default();
        let function = self.counted_body(&body, ty, cost)?;
        code.function(&function);
        Ok(())
    }
}
