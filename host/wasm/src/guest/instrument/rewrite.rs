//! Writes the instrumented component.
//!
//! Each component gets a module and an instance of it before all others: the counter, a global. Every module that is
//! instantiated gets that instance as an argument, and those with counted functions import the global. So the indexes
//! of all modules and core instances shift by one. Custom sections are dropped: nothing that is executed depends on
//! them, and their indexes would be wrong.

use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode, ReencodeComponent, component_utils};
use wasm_encoder::{
    Component, ConstExpr, ExportKind, ExportSection, GlobalSection, InstanceSection, Module,
    ModuleArg, ModuleSection, NestedComponentSection,
};
use wasmparser::Parser;

use super::module::{self, COUNTER, COUNTER_MODULE};

type Error = reencode::Error<Infallible>;

/// What is counted in one component.
#[derive(Debug)]
pub(super) struct ComponentPlan {
    /// For each function of each module in order, what a call of it adds to the counter; `None`: it is not counted.
    pub(super) modules: Vec<Vec<Option<u32>>>,
}

impl ComponentPlan {
    /// Whether any function is counted.
    pub(super) fn counts(&self) -> bool {
        self.modules.iter().flatten().any(Option::is_some)
    }
}

/// Instruments a component by the plans of it and of the components inside it. The error is the encoder's message.
pub(super) fn rewrite(
    bytes: &[u8],
    plans: &[ComponentPlan],
    limit: u32,
) -> Result<Vec<u8>, String> {
    if !plans.iter().any(ComponentPlan::counts) {
        return Ok(bytes.to_vec());
    }
    let mut rewriter = Rewriter {
        plans,
        limit,
        begun: 0,
        open: Vec::new(),
    };
    let component = rewriter
        .component(Parser::new(0), bytes, bytes)
        .map_err(|error| error.to_string())?;
    Ok(component.finish())
}

struct Rewriter<'p> {
    plans: &'p [ComponentPlan],
    limit: u32,
    /// Components that have begun.
    begun: usize,
    /// Open components, from the outermost inwards: the number of the component, and of its next module.
    open: Vec<(usize, usize)>,
}

impl Rewriter<'_> {
    /// Instruments the next component.
    fn component(
        &mut self,
        parser: Parser,
        bytes: &[u8],
        whole_component: &[u8],
    ) -> Result<Component, Error> {
        self.open.push((self.begun, 0));
        self.begun += 1;
        let mut component = Component::new();
        add_counter(&mut component);
        component_utils::parse_component(self, &mut component, parser, bytes, whole_component)?;
        self.open.pop();
        Ok(component)
    }
}

impl Reencode for Rewriter<'_> {
    type Error = Infallible;
}

impl ReencodeComponent for Rewriter<'_> {
    fn module_index(&mut self, module: u32) -> u32 {
        module + 1
    }

    fn outer_module_index(&mut self, _count: u32, module: u32) -> u32 {
        module + 1
    }

    fn instance_index(&mut self, instance: u32) -> u32 {
        instance + 1
    }

    fn parse_component_subcomponent(
        &mut self,
        component: &mut Component,
        parser: Parser,
        bytes: &[u8],
        whole_component: &[u8],
    ) -> Result<(), Error> {
        let inner = self.component(parser, bytes, whole_component)?;
        component.section(&NestedComponentSection(&inner));
        Ok(())
    }

    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        parser: Parser,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let costs: &[Option<u32>] = match self.open.last_mut() {
            Some((number, next)) => {
                let costs = self.plans[*number].modules.get(*next);
                *next += 1;
                costs.map_or(&[], Vec::as_slice)
            }
            None => &[],
        };
        let rewritten = module::rewrite(parser, bytes, costs, self.limit)?;
        component.section(&ModuleSection(&rewritten));
        Ok(())
    }

    fn parse_instance(
        &mut self,
        instances: &mut InstanceSection,
        instance: wasmparser::Instance<'_>,
    ) -> Result<(), Error> {
        let wasmparser::Instance::Instantiate { module_index, args } = &instance else {
            return component_utils::parse_instance(self, instances, instance);
        };
        let mut arguments = vec![(COUNTER_MODULE, ModuleArg::Instance(0))];
        for arg in args {
            arguments.push((
                arg.name,
                ModuleArg::Instance(self.instance_index(arg.index)),
            ));
        }
        instances.instantiate(self.module_index(*module_index), arguments);
        Ok(())
    }

    fn parse_component_custom_section(
        &mut self,
        _component: &mut Component,
        _section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// Adds the module with the counter, and its instance.
fn add_counter(component: &mut Component) {
    let mut globals = GlobalSection::new();
    globals.global(module::counter_type(), &ConstExpr::i32_const(0));
    let mut exports = ExportSection::new();
    exports.export(COUNTER, ExportKind::Global, 0);
    let mut counter = Module::new();
    counter.section(&globals).section(&exports);
    component.section(&ModuleSection(&counter));
    let mut instances = InstanceSection::new();
    instances.instantiate(0, std::iter::empty::<(&str, ModuleArg)>());
    component.section(&instances);
}
