//! Estimate of the stack that a call of a function takes on a machine.
//!
//! A compiler keeps a function's locals and operands in registers or in its frame, so their number bounds what it needs,
//! except for values that it computes ahead of their use. The stack of a machine is several times the limit, so that
//! the estimate may be too low by a factor.

use wasmparser::{
    BinaryReaderError, BlockType, ContType, FrameKind, FuncType, FunctionBody, ModuleArity,
    Operator, RefType, SubType, ValType,
};

use super::core_code::{CoreCode, FunctionCode};

/// Return address, saved registers and the host's own values, in bytes.
const BASE_BYTES: u64 = 96;

/// One operand, or one local that is not a vector, in bytes.
const SLOT_BYTES: u64 = 8;

/// Largest estimate. One call of such a function exceeds any limit.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a function: its calls and its frame. `ty` is the index of its type.
pub(super) fn read(
    core: &CoreCode<'_>,
    ty: u32,
    body: &FunctionBody<'_>,
) -> Result<FunctionCode, BinaryReaderError> {
    let mut code = FunctionCode::default();
    let mut slots = core.func_type(ty).map_or(0, |ty| slots(ty.params()));
    for local in body.get_locals_reader()? {
        let (count, ty) = local?;
        slots += u64::from(count) * value_slots(ty);
    }
    let mut heights = Heights::new(core, ty);
    let mut passed = 0;
    for operator in body.get_operators_reader()? {
        let operator = operator?;
        code.note(&operator);
        if let Some(ty) = core.callee_type(&operator) {
            passed = passed.max(self::slots(ty.params()) + self::slots(ty.results()));
        }
        heights.step(&operator);
    }
    let bytes = BASE_BYTES + SLOT_BYTES * (slots + u64::from(heights.max) + passed);
    // At most MAX_BYTES.
    code.frame = bytes.min(MAX_BYTES) as u32;
    Ok(code)
}

fn slots(types: &[ValType]) -> u64 {
    types.iter().copied().map(value_slots).sum()
}

fn value_slots(ty: ValType) -> u64 {
    if ty == ValType::V128 { 2 } else { 1 }
}

/// Height of the operand stack.
struct Heights<'c, 'a> {
    core: &'c CoreCode<'a>,
    /// Open blocks: kind, type, and the height below the block's operands.
    blocks: Vec<(FrameKind, BlockType, u32)>,
    height: u32,
    max: u32,
}

impl<'c, 'a> Heights<'c, 'a> {
    fn new(core: &'c CoreCode<'a>, ty: u32) -> Self {
        Self {
            core,
            blocks: vec![(FrameKind::Block, BlockType::FuncType(ty), 0)],
            height: 0,
            max: 0,
        }
    }

    fn step(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Block { blockty } => self.open(FrameKind::Block, *blockty),
            Operator::Loop { blockty } => self.open(FrameKind::Loop, *blockty),
            Operator::TryTable { try_table } => self.open(FrameKind::TryTable, try_table.ty),
            Operator::If { blockty } => {
                self.pop(1);
                self.open(FrameKind::If, *blockty);
            }
            Operator::Else => {
                if let Some((kind, ty, floor)) = self.blocks.last_mut() {
                    *kind = FrameKind::Else;
                    let (ty, floor) = (*ty, *floor);
                    self.height = floor;
                    self.push(self.arity(ty).0);
                }
            }
            Operator::End => {
                if let Some((_, ty, floor)) = self.blocks.pop() {
                    self.height = floor;
                    self.push(self.arity(ty).1);
                }
            }
            Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef => self.height = self.floor(),
            operator => {
                // An operator of unknown arity is refused by the engine.
                let (taken, given) = operator.operator_arity(self).unwrap_or_default();
                self.pop(taken);
                self.push(given);
            }
        }
    }

    fn open(&mut self, kind: FrameKind, ty: BlockType) {
        let (parameters, _) = self.arity(ty);
        self.pop(parameters);
        self.blocks.push((kind, ty, self.height));
        self.push(parameters);
    }

    fn arity(&self, ty: BlockType) -> (u32, u32) {
        self.block_type_arity(ty).unwrap_or_default()
    }

    fn floor(&self) -> u32 {
        self.blocks.last().map_or(0, |(_, _, floor)| *floor)
    }

    /// Below the floor of a block only in unreachable code, because the module is valid.
    fn pop(&mut self, count: u32) {
        self.height = self.height.saturating_sub(count).max(self.floor());
    }

    fn push(&mut self, count: u32) {
        self.height = self.height.saturating_add(count);
        self.max = self.max.max(self.height);
    }
}

impl ModuleArity for Heights<'_, '_> {
    fn sub_type_at(&self, ty: u32) -> Option<&SubType> {
        self.core.types.get(ty as usize)
    }

    fn tag_type_arity(&self, _tag: u32) -> Option<(u32, u32)> {
        None
    }

    fn type_index_of_function(&self, function: u32) -> Option<u32> {
        self.core.function_types.get(function as usize).copied()
    }

    fn func_type_of_cont_type(&self, _ty: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _ty: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    fn label_block(&self, depth: u32) -> Option<(BlockType, FrameKind)> {
        let position = self.blocks.len().checked_sub(1 + depth as usize)?;
        let (kind, ty, _) = self.blocks[position];
        Some((ty, kind))
    }
}
