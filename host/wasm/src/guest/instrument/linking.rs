//! How the core modules of a component are linked: which function or table an import is.

use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentOuterAliasKind,
    ComponentType, ComponentTypeRef, Encoding, ExternalKind, Instance, Parser, Payload,
};

use super::core_code::CoreCode;
use super::frame;

/// What an import, an export or a core function of a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LinkTarget {
    /// A function or a table of a module of this component: the module and the index in it, not an imported one.
    Own(usize, u32),
    /// A function of the host. It may call this core function of the component to allocate memory.
    Host(Option<u32>),
    /// Something else: any function may be behind it.
    Unknown,
}

/// A core instance.
#[derive(Debug)]
enum CoreInstance<'a> {
    Of {
        /// Number among the modules of this component; `None`: the module is another component's.
        module: Option<usize>,
        /// Names of imported modules, and the instances that they are.
        arguments: Vec<(&'a str, u32)>,
    },
    Exports(Vec<(&'a str, ExternalKind, u32)>),
}

/// A core function or table in the index space of a component.
#[derive(Clone, Copy, Debug)]
enum CoreItem<'a> {
    Known(LinkTarget),
    Export { instance: u32, name: &'a str },
}

/// The code of one component, without the components inside it.
#[derive(Debug, Default)]
pub(super) struct ComponentCode<'a> {
    pub(super) modules: Vec<CoreCode<'a>>,
    /// For each core module in the index space of the component, its number in `modules`.
    module_space: Vec<Option<usize>>,
    instances: Vec<CoreInstance<'a>>,
    functions: Vec<CoreItem<'a>>,
    tables: Vec<CoreItem<'a>>,
    /// It defines a resource with a destructor, which a drop of a handle calls.
    has_destructor: bool,
}

/// Reads a component and the components inside it, in the order in which they begin.
pub(super) fn components(bytes: &[u8]) -> Result<Vec<ComponentCode<'_>>, BinaryReaderError> {
    let mut all: Vec<ComponentCode<'_>> = Vec::new();
    // Open components and modules, from the outermost inwards: the component, and whether a module in it is open.
    let mut open: Vec<(usize, bool)> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match (&payload, open.last().copied()) {
            (Payload::Version { encoding, .. }, outer) => match (encoding, outer) {
                (Encoding::Component, _) => {
                    open.push((all.len(), false));
                    all.push(ComponentCode::default());
                }
                (Encoding::Module, Some((component, _))) => {
                    all[component].begin_module();
                    open.push((component, true));
                }
                // Not a component. Its caller has encoded one.
                (Encoding::Module, None) => return Ok(all),
            },
            (Payload::End(_), _) => {
                open.pop();
            }
            (_, Some((component, true))) => all[component].read_module(payload)?,
            (_, Some((component, false))) => all[component].read(payload)?,
            (_, None) => {}
        }
    }
    Ok(all)
}

impl<'a> ComponentCode<'a> {
    fn begin_module(&mut self) {
        self.module_space.push(Some(self.modules.len()));
        self.modules.push(CoreCode::default());
    }

    fn read_module(&mut self, payload: Payload<'a>) -> Result<(), BinaryReaderError> {
        let Some(core) = self.modules.last_mut() else {
            return Ok(());
        };
        match payload {
            Payload::CodeSectionEntry(body) => core.read_function(&body, frame::read),
            payload => core.read(payload),
        }
    }

    fn read(&mut self, payload: Payload<'a>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    self.read_instance(instance?);
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    self.read_alias(alias?);
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    if let ComponentTypeRef::Module(_) = import?.ty {
                        self.module_space.push(None);
                    }
                }
            }
            Payload::ComponentTypeSection(types) => {
                for ty in types {
                    if let ComponentType::Resource { dtor: Some(_), .. } = ty? {
                        self.has_destructor = true;
                    }
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    self.read_canonical(&function?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn read_instance(&mut self, instance: Instance<'a>) {
        self.instances.push(match instance {
            Instance::Instantiate { module_index, args } => CoreInstance::Of {
                module: self
                    .module_space
                    .get(module_index as usize)
                    .copied()
                    .flatten(),
                arguments: args.iter().map(|arg| (arg.name, arg.index)).collect(),
            },
            Instance::FromExports(exports) => {
                let exports = exports.iter();
                CoreInstance::Exports(
                    exports
                        .map(|export| (export.name, export.kind, export.index))
                        .collect(),
                )
            }
        });
    }

    fn read_alias(&mut self, alias: ComponentAlias<'a>) {
        match alias {
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index: instance,
                name,
            } => {
                let item = CoreItem::Export { instance, name };
                match kind {
                    ExternalKind::Func | ExternalKind::FuncExact => self.functions.push(item),
                    ExternalKind::Table => self.tables.push(item),
                    _ => {}
                }
            }
            ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::CoreModule,
                ..
            } => self.module_space.push(None),
            ComponentAlias::InstanceExport {
                kind: wasmparser::ComponentExternalKind::Module,
                ..
            } => self.module_space.push(None),
            _ => {}
        }
    }

    /// Every canonical function except a lifted one is a core function of the host.
    fn read_canonical(&mut self, function: &CanonicalFunction) {
        let target = match function {
            CanonicalFunction::Lift { .. } => return,
            CanonicalFunction::Lower { options, .. } => {
                let realloc = options.iter().find_map(|option| match option {
                    CanonicalOption::Realloc(function) => Some(*function),
                    _ => None,
                });
                LinkTarget::Host(realloc)
            }
            CanonicalFunction::ResourceNew { .. } | CanonicalFunction::ResourceRep { .. } => {
                LinkTarget::Host(None)
            }
            CanonicalFunction::ResourceDrop { .. } if !self.has_destructor => {
                LinkTarget::Host(None)
            }
            // A destructor is a function of the guest. The other functions belong to asynchronous calls.
            _ => LinkTarget::Unknown,
        };
        self.functions.push(CoreItem::Known(target));
    }

    /// Resolves a core function of the component.
    pub(super) fn function(&self, function: u32) -> LinkTarget {
        self.resolve(
            ExternalKind::Func,
            self.functions.get(function as usize).copied(),
        )
    }

    /// All that a function or a table of a module may be, by its index in the module: one for each instance of the
    /// module if it is imported.
    pub(super) fn targets(&self, module: usize, kind: ExternalKind, index: u32) -> Vec<LinkTarget> {
        let core = &self.modules[module];
        let Some(import) = core.import(kind, index) else {
            return vec![own(core, module, kind, index)];
        };
        let of_module = |instance: &CoreInstance<'a>| match instance {
            CoreInstance::Of {
                module: Some(number),
                arguments,
            } if *number == module => Some(self.import(kind, import, arguments)),
            _ => None,
        };
        let mut targets: Vec<LinkTarget> = self.instances.iter().filter_map(of_module).collect();
        if targets.is_empty() {
            // No instance here, so another component may have one.
            targets.push(LinkTarget::Unknown);
        }
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    fn import(
        &self,
        kind: ExternalKind,
        import: &wasmparser::Import<'a>,
        arguments: &[(&'a str, u32)],
    ) -> LinkTarget {
        let argument = arguments.iter().find(|(name, _)| *name == import.module);
        argument.map_or(LinkTarget::Unknown, |(_, instance)| {
            self.export(kind, *instance, import.name)
        })
    }

    fn export(&self, kind: ExternalKind, instance: u32, name: &str) -> LinkTarget {
        match self.instances.get(instance as usize) {
            Some(CoreInstance::Exports(exports)) => {
                let found = exports.iter().find(|(export, ..)| *export == name);
                let Some((_, _, index)) = found else {
                    return LinkTarget::Unknown;
                };
                let space = if kind == ExternalKind::Table {
                    &self.tables
                } else {
                    &self.functions
                };
                self.resolve(kind, space.get(*index as usize).copied())
            }
            Some(CoreInstance::Of {
                module: Some(module),
                arguments,
            }) => {
                let core = &self.modules[*module];
                let found = core.exports.iter().find(|(export, ..)| *export == name);
                let Some((_, _, index)) = found else {
                    return LinkTarget::Unknown;
                };
                match core.import(kind, *index) {
                    Some(import) => self.import(kind, import, arguments),
                    None => own(core, *module, kind, *index),
                }
            }
            _ => LinkTarget::Unknown,
        }
    }

    /// Ends, because a core instance refers only to earlier ones.
    fn resolve(&self, kind: ExternalKind, item: Option<CoreItem<'a>>) -> LinkTarget {
        match item {
            Some(CoreItem::Known(target)) => target,
            Some(CoreItem::Export { instance, name }) => self.export(kind, instance, name),
            None => LinkTarget::Unknown,
        }
    }
}

/// A function or a table of the module itself.
fn own(core: &CoreCode<'_>, module: usize, kind: ExternalKind, index: u32) -> LinkTarget {
    let imported = if kind == ExternalKind::Table {
        core.imported_tables
    } else {
        // A module has fewer than 2^32 functions.
        core.imported_functions as u32
    };
    LinkTarget::Own(module, index.saturating_sub(imported))
}
