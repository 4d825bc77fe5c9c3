//! The call graph of a component, and the functions in it that may recurse.
//!
//! A call through a table reaches every function of the same type in that table. A function of the host may call the
//! guest's allocator, and nothing else: the component model does not let the host call back. What is not known reaches
//! every function that is exported, or whose reference is taken.

use std::collections::BTreeMap;

use wasmparser::{ExternalKind, FuncType};

use super::core_code::CoreCode;
use super::linking::{ComponentCode, LinkTarget};

/// A node: a function of the component, or a group of functions that a call may reach.
type Node = usize;

/// A table, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    /// A table of a module: the module and its index there.
    Own(usize, u32),
    /// All tables, because elements move between them.
    All,
}

/// What the graph tells about recursion.
pub(super) struct CallPaths {
    /// For each function in order, module by module, whether it is on a cycle.
    pub(super) recursive: Vec<bool>,
    /// Largest sum of the frames on a path of functions that are not on a cycle, in bytes.
    pub(super) longest_uncharged: u64,
}

/// The call graph. The first nodes are the functions of all modules, in order.
pub(super) struct CallGraph<'c, 'a> {
    component: &'c ComponentCode<'a>,
    /// The first node of each module.
    first: Vec<Node>,
    functions: usize,
    edges: Vec<Vec<Node>>,
    /// The node of everything that is not known.
    unknown: Node,
    /// Nodes of the functions of one type in one table.
    in_tables: BTreeMap<(Table, Option<TypeKey>), Node>,
    moves_elements: bool,
}

/// A function type, for comparison between modules.
type TypeKey = String;

impl<'c, 'a> CallGraph<'c, 'a> {
    pub(super) fn of(component: &'c ComponentCode<'a>) -> Self {
        let mut first = Vec::new();
        let mut functions = 0;
        for core in &component.modules {
            first.push(functions);
            functions += core.functions.len();
        }
        let moves_elements = component.modules.iter().any(CoreCode::moves_elements);
        let mut graph = Self {
            component,
            first,
            functions,
            edges: vec![Vec::new(); functions + 1],
            unknown: functions,
            in_tables: BTreeMap::new(),
            moves_elements,
        };
        for (module, core) in component.modules.iter().enumerate() {
            graph.add_tables(module, core);
        }
        for (module, core) in component.modules.iter().enumerate() {
            graph.add_calls(module, core);
            graph.add_exports(module, core);
        }
        graph
    }

    /// Adds the elements of a module's segments to the tables.
    fn add_tables(&mut self, module: usize, core: &CoreCode<'a>) {
        for segment in &core.segments {
            let tables = match segment.table {
                Some(table) => self.tables(module, table),
                None => (0..core.tables)
                    .flat_map(|table| self.tables(module, table))
                    .collect(),
            };
            for function in &segment.functions {
                self.add_element(module, core, *function, &tables);
            }
        }
        for function in &core.taken {
            let tables = if self.moves_elements {
                vec![Some(Table::All)]
            } else {
                Vec::new()
            };
            self.add_element(module, core, *function, &tables);
        }
    }

    fn add_element(
        &mut self,
        module: usize,
        core: &CoreCode<'a>,
        function: u32,
        tables: &[Option<Table>],
    ) {
        let key = type_of(core, function);
        let targets = self.nodes(module, function);
        for target in targets {
            self.edges[self.unknown].push(target);
            for table in tables.iter().flatten() {
                let node = self.table_node(*table, key.clone());
                self.edges[node].push(target);
            }
        }
    }

    fn add_calls(&mut self, module: usize, core: &CoreCode<'a>) {
        for (number, code) in core.functions.iter().enumerate() {
            let caller = self.first[module] + number;
            for callee in &code.direct {
                let targets = self.nodes(module, *callee);
                self.edges[caller].extend(targets);
            }
            for (ty, table) in &code.indirect {
                let key = core.func_type(*ty).map(key);
                for table in self.tables(module, *table) {
                    let node = match table {
                        Some(table) => self.table_node(table, key.clone()),
                        None => self.unknown,
                    };
                    self.edges[caller].push(node);
                }
            }
            if code.by_reference {
                self.edges[caller].push(self.unknown);
            }
        }
    }

    fn add_exports(&mut self, module: usize, core: &CoreCode<'a>) {
        for (_, kind, index) in &core.exports {
            if matches!(kind, ExternalKind::Func | ExternalKind::FuncExact) {
                let targets = self.nodes(module, *index);
                self.edges[self.unknown].extend(targets);
            }
        }
    }

    /// The nodes that a function of a module may be, by its index there.
    fn nodes(&self, module: usize, function: u32) -> Vec<Node> {
        if let Some(own) = self.component.modules[module].own(function) {
            return vec![self.first[module] + own];
        }
        let targets = self.component.targets(module, ExternalKind::Func, function);
        targets
            .into_iter()
            .filter_map(|target| self.node(target))
            .collect()
    }

    /// `None`: a function of the host that does not call the guest.
    fn node(&self, target: LinkTarget) -> Option<Node> {
        match target {
            LinkTarget::Own(module, function) => Some(self.first[module] + function as usize),
            LinkTarget::Unknown => Some(self.unknown),
            LinkTarget::Host(None) => None,
            LinkTarget::Host(Some(realloc)) => match self.component.function(realloc) {
                LinkTarget::Own(module, function) => Some(self.first[module] + function as usize),
                _ => Some(self.unknown),
            },
        }
    }

    /// The tables that a table of a module may be; `None`: one that is not known.
    fn tables(&self, module: usize, table: u32) -> Vec<Option<Table>> {
        if self.moves_elements {
            return vec![Some(Table::All)];
        }
        let targets = self.component.targets(module, ExternalKind::Table, table);
        let table = |target| match target {
            LinkTarget::Own(module, table) => Some(Table::Own(module, table)),
            _ => None,
        };
        targets.into_iter().map(table).collect()
    }

    fn table_node(&mut self, table: Table, key: Option<TypeKey>) -> Node {
        let edges = &mut self.edges;
        *self.in_tables.entry((table, key)).or_insert_with(|| {
            edges.push(Vec::new());
            edges.len() - 1
        })
    }

    /// Finds the strongly connected components (Tarjan), callees before callers.
    pub(super) fn analyze(&self) -> CallPaths {
        let mut search = Search::new(&self.edges);
        let mut recursive = vec![false; self.functions];
        // For each node, the largest sum of frames from it on, without functions on a cycle.
        let mut uncharged = vec![0; self.edges.len()];
        for root in 0..self.edges.len() {
            search.visit(root, &mut |group: &[Node]| {
                let on_cycle = group.len() > 1 || self.edges[group[0]].contains(&group[0]);
                let callees = group.iter().flat_map(|node| &self.edges[*node]);
                let mut longest = callees.map(|node| uncharged[*node]).max().unwrap_or(0);
                for node in group {
                    if *node < self.functions {
                        recursive[*node] = on_cycle;
                        if !on_cycle {
                            longest += self.frame(*node);
                        }
                    }
                }
                for node in group {
                    uncharged[*node] = longest;
                }
            });
        }
        CallPaths {
            recursive,
            longest_uncharged: uncharged.into_iter().max().unwrap_or(0),
        }
    }

    fn frame(&self, node: Node) -> u64 {
        let module = self.first.partition_point(|first| *first <= node) - 1;
        let code = &self.component.modules[module].functions[node - self.first[module]];
        u64::from(code.frame)
    }
}

fn type_of(core: &CoreCode<'_>, function: u32) -> Option<TypeKey> {
    let ty = core.function_types.get(function as usize)?;
    core.func_type(*ty).map(key)
}

fn key(ty: &FuncType) -> TypeKey {
    format!("{:?}{:?}", ty.params(), ty.results())
}

/// Tarjan's algorithm without recursion of its own.
struct Search<'g> {
    edges: &'g [Vec<Node>],
    /// Order of discovery from 1; 0: not visited.
    found: Vec<usize>,
    lowest: Vec<usize>,
    is_open: Vec<bool>,
    open: Vec<Node>,
    next: usize,
}

impl<'g> Search<'g> {
    fn new(edges: &'g [Vec<Node>]) -> Self {
        Self {
            edges,
            found: vec![0; edges.len()],
            lowest: vec![0; edges.len()],
            is_open: vec![false; edges.len()],
            open: Vec::new(),
            next: 1,
        }
    }

    /// Visits what is reachable from `root`, and passes each strongly connected component to `close`.
    fn visit(&mut self, root: Node, close: &mut impl FnMut(&[Node])) {
        if self.found[root] != 0 {
            return;
        }
        self.enter(root);
        let mut path = vec![(root, 0)];
        while let Some((node, edge)) = path.pop() {
            if let Some(callee) = self.edges[node].get(edge).copied() {
                path.push((node, edge + 1));
                if self.found[callee] == 0 {
                    self.enter(callee);
                    path.push((callee, 0));
                } else if self.is_open[callee] {
                    self.lowest[node] = self.lowest[node].min(self.found[callee]);
                }
                continue;
            }
            if self.lowest[node] == self.found[node] {
                self.leave(node, close);
            }
            if let Some((caller, _)) = path.last() {
                self.lowest[*caller] = self.lowest[*caller].min(self.lowest[node]);
            }
        }
    }

    fn enter(&mut self, node: Node) {
        self.found[node] = self.next;
        self.lowest[node] = self.next;
        self.next += 1;
        self.is_open[node] = true;
        self.open.push(node);
    }

    fn leave(&mut self, root: Node, close: &mut impl FnMut(&[Node])) {
        let start = self
            .open
            .iter()
            .rposition(|node| *node == root)
            .unwrap_or(0);
        let group = self.open.split_off(start);
        for node in &group {
            self.is_open[*node] = false;
        }
        close(&group);
    }
}
