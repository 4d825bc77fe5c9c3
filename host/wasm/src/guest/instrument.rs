//! Bounds the recursion of a guest, in its code: the same on every node, whatever compiler and processor.
//!
//! How deep a guest can recurse on the stack of a machine depends on the compiled code. So each function that may
//! recurse gets code at its beginning and its end. It adds the function's [estimated frame](frame) to a counter, and
//! traps if the counter exceeds the stack limit. At the end it subtracts the frame again. A function may recurse if it
//! is on a cycle of the [call graph](call_graph). Other functions are not changed: a path of calls among them has a
//! bounded length, and if that is too large for [`UNCHARGED_BYTES`], all functions are instrumented.
//!
//! A component has one counter for all of its modules: a global of a small module that is added to it
//! ([`rewrite`]). After a trap the instance is dropped, so the counter needs no reset.
//!
//! What is instrumented and how much a call costs decides outcomes. A change of either is a new version of
//! [`GuestSemantics`](super::semantics::GuestSemantics).

mod call_graph;
mod core_code;
mod frame;
mod linking;
mod module;
mod rewrite;

use wasmparser::{Validator, WasmFeatures};

use call_graph::CallGraph;
use linking::ComponentCode;
use rewrite::ComponentPlan;

pub(super) use module::TOO_DEEP;

/// Limit on the estimated frames of one path of calls without a counted function, in bytes.
const UNCHARGED_BYTES: u64 = 4 << 20;

/// Instruments a component. The error is the reason why that is not possible.
pub(super) fn bound_stack(component: &[u8], stack_bytes: u64) -> Result<Vec<u8>, String> {
    let unread = |error: wasmparser::BinaryReaderError| format!("it could not be read: {error}");
    // What follows relies on a valid component, for example on core instances that refer only to earlier ones.
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(component)
        .map_err(unread)?;
    let plans: Vec<ComponentPlan> = linking::components(component)
        .map_err(unread)?
        .iter()
        .map(plan)
        .collect();
    let counting = plans.iter().filter(|plan| plan.counts()).count() as u64;
    // Components inside a component have a counter each, and share the stack of the machine.
    let limit = stack_bytes / counting.max(1);
    rewrite::rewrite(component, &plans, u32::try_from(limit).unwrap_or(u32::MAX))
}

/// Decides which functions of a component are counted.
fn plan(component: &ComponentCode<'_>) -> ComponentPlan {
    let graph = CallGraph::of(component);
    let paths = graph.analyze();
    let all = paths.longest_uncharged > UNCHARGED_BYTES;
    let mut function = 0;
    let modules = component.modules.iter().map(|core| {
        let costs = core.functions.iter().map(|code| {
            let counted = all || paths.recursive[function];
            function += 1;
            counted.then_some(code.frame)
        });
        costs.collect()
    });
    ComponentPlan {
        modules: modules.collect(),
    }
}

#[cfg(test)]
mod tests;
