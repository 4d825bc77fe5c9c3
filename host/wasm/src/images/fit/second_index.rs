//! Parts of a component that give a core module another index.
//!
//! The scan recognizes a module by its index. With two indexes, one module could be instantiated twice unnoticed.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef, Payload,
};

use super::fault::ScanFault;

/// Refuses aliases, imports and exports of core modules.
pub(super) fn check(payload: Payload<'_>) -> Result<(), ScanFault> {
    match payload {
        Payload::ComponentAliasSection(aliases) => {
            for alias in aliases {
                if is_of_module(&alias?) {
                    return Err("a module in it has a second index by an alias".into());
                }
            }
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports {
                if matches!(import?.ty, ComponentTypeRef::Module(_)) {
                    return Err("it imports a core module".into());
                }
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports {
                if export?.kind == ComponentExternalKind::Module {
                    return Err("it exports a core module".into());
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn is_of_module(alias: &ComponentAlias<'_>) -> bool {
    matches!(
        alias,
        ComponentAlias::InstanceExport {
            kind: ComponentExternalKind::Module,
            ..
        } | ComponentAlias::Outer {
            kind: ComponentOuterAliasKind::CoreModule,
            ..
        }
    )
}
