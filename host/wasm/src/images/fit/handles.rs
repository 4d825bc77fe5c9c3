//! Types of a component that stand for handles: they are state outside of memory.

use wasmparser::{
    ComponentDefinedType, ComponentType, ComponentTypeDeclaration, InstanceTypeDeclaration,
};

use super::fault::ScanFault;

/// Refuses resources of the component's own, and owned handles anywhere in a type. The contract has none, so they come
/// from other imports.
pub(super) fn check(ty: &ComponentType<'_>) -> Result<(), ScanFault> {
    match ty {
        ComponentType::Resource { .. } => Err("it has resources of its own".into()),
        ty if owns(ty) => Err("its imports return owned handles, for example of streams".into()),
        _ => Ok(()),
    }
}

fn owns(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Defined(ComponentDefinedType::Own(_)) => true,
        ComponentType::Instance(declarations) => declarations.iter().any(
            |declaration| matches!(declaration, InstanceTypeDeclaration::Type(ty) if owns(ty)),
        ),
        ComponentType::Component(declarations) => declarations.iter().any(
            |declaration| matches!(declaration, ComponentTypeDeclaration::Type(ty) if owns(ty)),
        ),
        _ => false,
    }
}
