//! Whether a function restores a global to its initial value.
//!
//! The function is executed on abstract values: the global's initial value plus a constant, a constant, or anything.
//! Where control flow joins, values that differ become "anything". A loop is executed again until the state at its
//! beginning is stable. Called functions are assumed to restore the global: each of them is checked in the same way,
//! and if a call traps, the instance is dropped.

use wasmparser::{
    BinaryReaderError, BlockType, ContType, FrameKind, FuncType, FunctionBody, ModuleArity,
    Operator, RefType, SubType,
};

use super::core_module::CoreModule;

/// Limit on executions of one function. Nested loops need as many as they are deep, and a few more.
const MAX_RUNS: usize = 64;

/// An abstract value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AbstractValue {
    /// The global's initial value plus this constant, in wrapping 64-bit arithmetic; for an `i32` the low half counts.
    Entry(i64),
    Number(i64),
    Anything,
}

/// The abstract state at one point of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FlowState {
    global: AbstractValue,
    /// Locals derived from the global's initial value, in order. All others may be anything.
    locals: Vec<(u32, i64)>,
}

impl FlowState {
    fn local(&self, local: u32) -> AbstractValue {
        let found = self.locals.iter().find(|(known, _)| *known == local);
        found.map_or(AbstractValue::Anything, |(_, plus)| {
            AbstractValue::Entry(*plus)
        })
    }

    fn set_local(&mut self, local: u32, value: AbstractValue) {
        self.locals.retain(|(known, _)| *known != local);
        if let AbstractValue::Entry(plus) = value {
            self.locals.push((local, plus));
            self.locals.sort_unstable();
        }
    }

    /// Joins two states: keeps what holds in both.
    fn join(&mut self, other: &Self) {
        if self.global != other.global {
            self.global = AbstractValue::Anything;
        }
        self.locals.retain(|known| other.locals.contains(known));
    }
}

/// An open block.
struct ControlFrame {
    kind: FrameKind,
    ty: BlockType,
    /// Height of the operand stack below the block's operands.
    height: usize,
    /// State at the beginning, for a loop or an `else`; `None`: unreachable.
    beginning: Option<FlowState>,
    /// Joined state of the jumps to the end.
    end: Option<FlowState>,
    /// Number of the loop.
    number: usize,
}

struct FlowRun<'c, 'a> {
    core: &'c CoreModule<'a>,
    global: u32,
    /// Type of the function.
    ty: u32,
    frames: Vec<ControlFrame>,
    stack: Vec<AbstractValue>,
    /// `None`: the current point is unreachable.
    state: Option<FlowState>,
    /// Joined state at the beginning of each loop, so far.
    loops: Vec<Option<FlowState>>,
    loops_seen: usize,
    changed: bool,
    /// The global has its initial value at every exit so far.
    kept: bool,
}

/// Whether a function of this type restores the global. `false` if that can't be proved.
pub(super) fn check(
    core: &CoreModule<'_>,
    ty: u32,
    body: &FunctionBody<'_>,
    global: u32,
) -> Result<bool, BinaryReaderError> {
    let mut loops = Vec::new();
    for _ in 0..MAX_RUNS {
        let mut run = FlowRun {
            core,
            global,
            ty,
            frames: Vec::new(),
            stack: Vec::new(),
            state: None,
            loops,
            loops_seen: 0,
            changed: false,
            kept: true,
        };
        run.begin();
        for operator in body.get_operators_reader()? {
            if run.step(&operator?).is_none() {
                return Ok(false);
            }
        }
        if !run.kept || !run.changed {
            return Ok(run.kept);
        }
        loops = run.loops;
    }
    Ok(false)
}

impl FlowRun<'_, '_> {
    fn begin(&mut self) {
        let state = FlowState {
            global: AbstractValue::Entry(0),
            locals: Vec::new(),
        };
        self.state = Some(state.clone());
        self.frames.push(ControlFrame {
            kind: FrameKind::Block,
            ty: BlockType::FuncType(self.ty),
            height: 0,
            beginning: Some(state),
            end: None,
            number: 0,
        });
    }

    /// Executes one instruction; `None` if it is not supported.
    fn step(&mut self, operator: &Operator<'_>) -> Option<()> {
        match operator {
            Operator::Block { blockty } => self.open(FrameKind::Block, *blockty),
            Operator::Loop { blockty } => self.open(FrameKind::Loop, *blockty),
            Operator::If { blockty } => {
                self.pop();
                self.open(FrameKind::If, *blockty)
            }
            Operator::Else => self.enter_else(),
            Operator::End => self.close(),
            Operator::Br { relative_depth } => {
                self.jump(*relative_depth)?;
                self.stop()
            }
            Operator::BrIf { relative_depth } => {
                self.pop();
                self.jump(*relative_depth)
            }
            Operator::BrTable { targets } => {
                self.pop();
                for target in targets.targets() {
                    self.jump(target.ok()?)?;
                }
                self.jump(targets.default())?;
                self.stop()
            }
            Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => {
                self.jump(u32::try_from(self.frames.len()).ok()? - 1)?;
                self.stop()
            }
            Operator::Unreachable => self.stop(),
            Operator::TryTable { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
            | Operator::ReturnCallRef { .. } => None,
            operator => self.compute(operator),
        }
    }

    /// Instructions without control flow.
    fn compute(&mut self, operator: &Operator<'_>) -> Option<()> {
        let result = match operator {
            Operator::LocalGet { local_index } => {
                let state = self.state.as_ref();
                state.map_or(AbstractValue::Anything, |state| state.local(*local_index))
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop();
                if let Some(state) = &mut self.state {
                    state.set_local(*local_index, value);
                }
                return Some(());
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop();
                if let Some(state) = &mut self.state {
                    state.set_local(*local_index, value);
                }
                value
            }
            Operator::GlobalGet { global_index } if *global_index == self.global => {
                let state = self.state.as_ref();
                state.map_or(AbstractValue::Anything, |state| state.global)
            }
            Operator::GlobalSet { global_index } if *global_index == self.global => {
                let value = self.pop();
                if let Some(state) = &mut self.state {
                    state.global = value;
                }
                return Some(());
            }
            Operator::I32Const { value } => AbstractValue::Number(i64::from(*value)),
            Operator::I64Const { value } => AbstractValue::Number(*value),
            Operator::I32Add | Operator::I64Add => match (self.pop(), self.pop()) {
                (AbstractValue::Entry(plus), AbstractValue::Number(number))
                | (AbstractValue::Number(number), AbstractValue::Entry(plus)) => {
                    AbstractValue::Entry(plus.wrapping_add(number))
                }
                _ => AbstractValue::Anything,
            },
            Operator::I32Sub | Operator::I64Sub => match (self.pop(), self.pop()) {
                (AbstractValue::Number(number), AbstractValue::Entry(plus)) => {
                    AbstractValue::Entry(plus.wrapping_sub(number))
                }
                _ => AbstractValue::Anything,
            },
            operator => {
                let (taken, given) = operator.operator_arity(self)?;
                for _ in 0..taken {
                    self.pop();
                }
                for _ in 0..given {
                    self.stack.push(AbstractValue::Anything);
                }
                return Some(());
            }
        };
        self.stack.push(result);
        Some(())
    }

    fn pop(&mut self) -> AbstractValue {
        let floor = self.frames.last().map_or(0, |frame| frame.height);
        if self.stack.len() > floor {
            self.stack.pop().unwrap_or(AbstractValue::Anything)
        } else {
            // Only in unreachable code, because the module was validated.
            AbstractValue::Anything
        }
    }

    fn arity(&self, ty: BlockType) -> Option<(usize, usize)> {
        match ty {
            BlockType::Empty => Some((0, 0)),
            BlockType::Type(_) => Some((0, 1)),
            BlockType::FuncType(ty) => self.core.arity(ty),
        }
    }

    fn push_any(&mut self, count: usize) {
        self.stack
            .extend(std::iter::repeat_n(AbstractValue::Anything, count));
    }

    fn open(&mut self, kind: FrameKind, ty: BlockType) -> Option<()> {
        let (parameters, _) = self.arity(ty)?;
        for _ in 0..parameters {
            self.pop();
        }
        let mut number = 0;
        if kind == FrameKind::Loop {
            number = self.loops_seen;
            self.loops_seen += 1;
            if self.loops.len() == number {
                self.loops.push(None);
            }
            self.join_loop(number);
            if self.state.is_some() {
                self.state.clone_from(&self.loops[number]);
            }
        }
        self.frames.push(ControlFrame {
            kind,
            ty,
            height: self.stack.len(),
            beginning: self.state.clone(),
            end: None,
            number,
        });
        self.push_any(parameters);
        Some(())
    }

    /// Joins the current state into the beginning of a loop.
    fn join_loop(&mut self, number: usize) {
        let Some(state) = &self.state else { return };
        match &mut self.loops[number] {
            Some(known) => {
                let before = known.clone();
                known.join(state);
                self.changed |= before != *known;
            }
            known => {
                *known = Some(state.clone());
                self.changed = true;
            }
        }
    }

    fn enter_else(&mut self) -> Option<()> {
        self.jump(0)?;
        let frame = self.frames.last_mut()?;
        frame.kind = FrameKind::Else;
        self.state.clone_from(&frame.beginning);
        let (height, ty) = (frame.height, frame.ty);
        self.stack.truncate(height);
        let (parameters, _) = self.arity(ty)?;
        self.push_any(parameters);
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        // The label of a loop is its beginning, so leaving the loop is not a jump to it.
        let is_loop = self.frames.last()?.kind == FrameKind::Loop;
        if !is_loop {
            self.jump(0)?;
        }
        let frame = self.frames.pop()?;
        if !is_loop {
            self.state = frame.end;
        }
        if frame.kind == FrameKind::If {
            // Without an `else` the block may be skipped.
            match (&mut self.state, frame.beginning) {
                (Some(state), Some(beginning)) => state.join(&beginning),
                (state @ None, beginning) => *state = beginning,
                (Some(_), None) => {}
            }
        }
        self.stack.truncate(frame.height);
        let (_, results) = self.arity(frame.ty)?;
        self.push_any(results);
        Some(())
    }

    /// Joins the current state into a label.
    fn jump(&mut self, depth: u32) -> Option<()> {
        let position = self.frames.len().checked_sub(1 + depth as usize)?;
        let Some(state) = &self.state else {
            return Some(());
        };
        if position == 0 && !self.is_entry(state.global) {
            self.kept = false;
        }
        let frame = &mut self.frames[position];
        if frame.kind == FrameKind::Loop {
            let number = frame.number;
            self.join_loop(number);
            return Some(());
        }
        match &mut frame.end {
            Some(end) => end.join(state),
            end => *end = Some(state.clone()),
        }
        Some(())
    }

    fn is_entry(&self, value: AbstractValue) -> bool {
        // For an `i32` a difference of 2^32 would be the same value, but no compiler emits that.
        value == AbstractValue::Entry(0)
    }

    fn stop(&mut self) -> Option<()> {
        self.state = None;
        let floor = self.frames.last()?.height;
        self.stack.truncate(floor);
        Some(())
    }
}

impl ModuleArity for FlowRun<'_, '_> {
    fn sub_type_at(&self, ty: u32) -> Option<&SubType> {
        self.core.types.get(ty as usize)
    }

    fn tag_type_arity(&self, _tag: u32) -> Option<(u32, u32)> {
        None
    }

    fn type_index_of_function(&self, function: u32) -> Option<u32> {
        self.core.functions.get(function as usize).copied()
    }

    fn func_type_of_cont_type(&self, _ty: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _ty: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    fn label_block(&self, depth: u32) -> Option<(BlockType, FrameKind)> {
        let position = self.frames.len().checked_sub(1 + depth as usize)?;
        let frame = &self.frames[position];
        Some((frame.ty, frame.kind))
    }
}
