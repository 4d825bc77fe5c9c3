//! A core module of a component, as far as its call graph depends on it.

use std::collections::BTreeSet;

use wasmparser::{
    BinaryReaderError, CompositeInnerType, ConstExpr, ElementItems, ElementKind, ExternalKind,
    FuncType, FunctionBody, Import, Operator, Payload, SubType, TypeRef,
};

/// The calls of one function, and its frame.
#[derive(Debug, Default)]
pub(super) struct FunctionCode {
    /// Functions that it calls by index.
    pub(super) direct: BTreeSet<u32>,
    /// Calls through a table: the type and the table.
    pub(super) indirect: BTreeSet<(u32, u32)>,
    /// It calls by reference, which may be any function whose reference is taken.
    pub(super) by_reference: bool,
    /// Functions whose reference it takes.
    pub(super) taken: BTreeSet<u32>,
    /// It reads or writes elements of a table.
    pub(super) moves_elements: bool,
    /// Estimated frame, in bytes.
    pub(super) frame: u32,
}

impl FunctionCode {
    pub(super) fn note(&mut self, operator: &Operator<'_>) {
        match *operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                self.direct.insert(function_index);
            }
            Operator::CallIndirect {
                type_index,
                table_index,
            }
            | Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => {
                self.indirect.insert((type_index, table_index));
            }
            Operator::CallRef { .. } | Operator::ReturnCallRef { .. } => self.by_reference = true,
            Operator::RefFunc { function_index } => {
                self.taken.insert(function_index);
            }
            Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. } => self.moves_elements = true,
            _ => {}
        }
    }
}

/// Functions of an element segment.
#[derive(Debug)]
pub(super) struct Segment {
    /// The table that it initializes; `None`: a passive segment, for any table of the module.
    pub(super) table: Option<u32>,
    pub(super) functions: Vec<u32>,
    /// It contains references that are not functions of this module by index.
    pub(super) has_unknown: bool,
}

/// A core module.
#[derive(Debug, Default)]
pub(super) struct CoreCode<'a> {
    pub(super) types: Vec<SubType>,
    /// Imports in order: module, name and kind.
    pub(super) imports: Vec<Import<'a>>,
    pub(super) exports: Vec<(&'a str, ExternalKind, u32)>,
    /// The type of each function, imported functions first.
    pub(super) function_types: Vec<u32>,
    pub(super) imported_functions: usize,
    pub(super) tables: u32,
    pub(super) imported_tables: u32,
    pub(super) segments: Vec<Segment>,
    /// Functions whose reference is taken outside of active and passive segments.
    pub(super) taken: BTreeSet<u32>,
    /// The functions of the module itself, without the imported ones.
    pub(super) functions: Vec<FunctionCode>,
}

impl<'a> CoreCode<'a> {
    pub(super) fn func_type(&self, ty: u32) -> Option<&FuncType> {
        match &self.types.get(ty as usize)?.composite_type.inner {
            CompositeInnerType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of the function that an operator calls; `None` for other operators.
    pub(super) fn callee_type(&self, operator: &Operator<'_>) -> Option<&FuncType> {
        match *operator {
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                self.func_type(*self.function_types.get(function_index as usize)?)
            }
            Operator::CallIndirect { type_index, .. }
            | Operator::ReturnCallIndirect { type_index, .. }
            | Operator::CallRef { type_index }
            | Operator::ReturnCallRef { type_index } => self.func_type(type_index),
            _ => None,
        }
    }

    /// Whether a table may contain other functions than those of its segments.
    pub(super) fn moves_elements(&self) -> bool {
        let moves = |code: &FunctionCode| code.moves_elements;
        self.functions.iter().any(moves) || self.segments.iter().any(|segment| segment.has_unknown)
    }

    /// The number of a function among those of the module itself; `None`: it is imported.
    pub(super) fn own(&self, function: u32) -> Option<usize> {
        (function as usize).checked_sub(self.imported_functions)
    }

    /// The import that is the function or the table with this number.
    pub(super) fn import(&self, kind: ExternalKind, number: u32) -> Option<&Import<'a>> {
        let is_kind = |import: &&Import<'a>| {
            matches!(
                (import.ty, kind),
                (
                    TypeRef::Func(_) | TypeRef::FuncExact(_),
                    ExternalKind::Func | ExternalKind::FuncExact
                ) | (TypeRef::Table(_), ExternalKind::Table)
            )
        };
        self.imports.iter().filter(is_kind).nth(number as usize)
    }

    /// Reads one part of the module, except for the code of a function.
    pub(super) fn read(&mut self, payload: Payload<'a>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(groups) => {
                for group in groups {
                    self.types.extend(group?.into_types());
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    self.read_import(import?);
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    self.function_types.push(ty?);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    self.tables += 1;
                    if let wasmparser::TableInit::Expr(expr) = table?.init {
                        self.take_references(&expr)?;
                    }
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    self.take_references(&global?.init_expr)?;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.exports.push((export.name, export.kind, export.index));
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    let element = element?;
                    self.read_segment(&element.kind, element.items)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the code of the next function.
    pub(super) fn read_function(
        &mut self,
        body: &FunctionBody<'a>,
        read: impl Fn(&Self, u32, &FunctionBody<'a>) -> Result<FunctionCode, BinaryReaderError>,
    ) -> Result<(), BinaryReaderError> {
        let function = self.imported_functions + self.functions.len();
        let ty = self.function_types.get(function).copied();
        let code = read(self, ty.unwrap_or(u32::MAX), body)?;
        self.taken.extend(&code.taken);
        self.functions.push(code);
        Ok(())
    }

    fn read_import(&mut self, import: Import<'a>) {
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.function_types.push(ty);
                self.imported_functions += 1;
            }
            TypeRef::Table(_) => {
                self.tables += 1;
                self.imported_tables += 1;
            }
            _ => {}
        }
        self.imports.push(import);
    }

    fn take_references(&mut self, expr: &ConstExpr<'_>) -> Result<(), BinaryReaderError> {
        for operator in expr.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.taken.insert(function_index);
            }
        }
        Ok(())
    }

    fn read_segment(
        &mut self,
        kind: &ElementKind<'a>,
        items: ElementItems<'a>,
    ) -> Result<(), BinaryReaderError> {
        let mut segment = Segment {
            table: None,
            functions: Vec::new(),
            has_unknown: false,
        };
        match items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    segment.functions.push(function?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    for operator in expression?.get_operators_reader() {
                        match operator? {
                            Operator::RefFunc { function_index } => {
                                segment.functions.push(function_index);
                            }
                            Operator::RefNull { .. } | Operator::End => {}
                            _ => segment.has_unknown = true,
                        }
                    }
                }
            }
        }
        match kind {
            ElementKind::Active { table_index, .. } => {
                segment.table = Some(table_index.unwrap_or(0));
            }
            ElementKind::Passive => {}
            ElementKind::Declared => {
                self.taken.extend(segment.functions);
                return Ok(());
            }
        }
        self.segments.push(segment);
        Ok(())
    }
}
