//! A setter of a builder takes one value, never a struct with defaults of its own.
//!
//! A caller fills such a struct with `..Default::default()`, and so resets the settings that it does not name. That way
//! `oarlock serve` once lost the commit delay.

use std::collections::BTreeSet;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Fields, FnArg, Ident, ImplItem, ItemImpl, ItemStruct, ReceiverKind, ReturnType, Type,
};

use super::tree::{Finding, Source, Tree};

const PACKAGES: [&str; 2] = ["host/", "guest-sdk/"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut files = Vec::new();
    for source in tree.rust().filter(|source| is_product(source)) {
        match syn::parse_file(&source.text) {
            Ok(file) => files.push((source, file)),
            Err(error) => {
                let line = error.span().start().line;
                found.push(Finding::new(
                    &source.path,
                    line,
                    format!("it is not Rust: {error}"),
                ));
            }
        }
    }
    let mut structs = Structs::default();
    files.iter().for_each(|(_, file)| structs.visit_file(file));
    let with_defaults: BTreeSet<String> = structs
        .with_fields
        .intersection(&structs.with_default)
        .cloned()
        .collect();
    for (source, file) in &files {
        let mut setters = Setters {
            with_defaults: &with_defaults,
            source,
            found: &mut found,
        };
        setters.visit_file(file);
    }
    found
}

fn is_product(source: &Source) -> bool {
    PACKAGES.iter().any(|start| source.path.starts_with(start))
        && source.path.contains("/src/")
        && !source.is_test()
}

/// Names of the structs in all files.
#[derive(Default)]
struct Structs {
    /// Those with named fields.
    with_fields: BTreeSet<String>,
    /// Types that implement `Default`.
    with_default: BTreeSet<String>,
}

impl Visit<'_> for Structs {
    fn visit_item_struct(&mut self, item: &ItemStruct) {
        if matches!(item.fields, Fields::Named(_)) {
            self.with_fields.insert(item.ident.to_string());
        }
        if item.attrs.iter().any(derives_default) {
            self.with_default.insert(item.ident.to_string());
        }
    }

    fn visit_item_impl(&mut self, item: &ItemImpl) {
        let of_default = item.trait_.as_ref().is_some_and(|(path, _)| {
            path.segments
                .last()
                .is_some_and(|last| last.ident == "Default")
        });
        if of_default {
            self.with_default.extend(names_in(&item.self_ty));
        }
    }
}

fn derives_default(attribute: &Attribute) -> bool {
    let mut found = false;
    if attribute.path().is_ident("derive") {
        // A derive that can't be read is an error of the compiler.
        let _ = attribute.parse_nested_meta(|meta| {
            found |= meta
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "Default");
            Ok(())
        });
    }
    found
}

/// Checks the methods that take `self` by value and return it.
struct Setters<'a> {
    with_defaults: &'a BTreeSet<String>,
    source: &'a Source,
    found: &'a mut Vec<Finding>,
}

impl Visit<'_> for Setters<'_> {
    fn visit_item_impl(&mut self, item: &ItemImpl) {
        let own = names_in(&item.self_ty);
        for method in &item.items {
            let ImplItem::Fn(method) = method else {
                continue;
            };
            let mut arguments = method.sig.inputs.iter();
            let by_value = matches!(arguments.next(), Some(FnArg::Receiver(receiver)) if matches!(receiver.kind, ReceiverKind::Value));
            let returns_itself = match &method.sig.output {
                ReturnType::Type(_, output) => names_in(output)
                    .iter()
                    .any(|name| name == "Self" || own.contains(name)),
                ReturnType::Default => false,
            };
            if !by_value || !returns_itself {
                continue;
            }
            for argument in arguments {
                let FnArg::Typed(argument) = argument else {
                    continue;
                };
                let names = names_in(&argument.ty);
                if let Some(name) = names.iter().find(|name| self.with_defaults.contains(*name)) {
                    let what = format!(
                        "the setter `{}` takes `{name}`, which has defaults of its own, so it resets settings that its \
                         caller does not name; write one setter for each value",
                        method.sig.ident
                    );
                    let line = argument.span().start().line;
                    self.found.push(Finding::new(&self.source.path, line, what));
                }
            }
        }
        visit::visit_item_impl(self, item);
    }
}

/// All names in a type: `Option<Limits>` has two.
fn names_in(of: &Type) -> BTreeSet<String> {
    #[derive(Default)]
    struct Names(BTreeSet<String>);
    impl Visit<'_> for Names {
        fn visit_ident(&mut self, name: &Ident) {
            self.0.insert(name.to_string());
        }
    }
    let mut names = Names::default();
    names.visit_type(of);
    names.0
}

mod tests {
    use super::*;

    const LIMITS: &str = "#[derive(Clone, Default)]\npub struct Limits { pub a: u8 }\npub struct NodeBuilder { limits: Limits }\n";

    fn planted(method: &str) -> Vec<String> {
        let text = format!("{LIMITS}impl NodeBuilder {{\n    {method}\n}}");
        check(&Tree::planted(&[("host/raft/src/x.rs", &text)]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_setter_that_takes_a_struct_with_defaults_is_found() {
        for method in [
            "pub fn limits(mut self, limits: Limits) -> Self { self.limits = limits; self }",
            "pub fn limits(self, limits: crate::x::Limits) -> NodeBuilder { self }",
            "pub fn limits(mut self, limits: Option<Limits>) -> Self { self }",
        ] {
            let found = planted(method);
            assert_eq!(found.len(), 1, "{method}: {found:?}");
            assert!(
                found[0].starts_with("host/raft/src/x.rs:5: the setter `limits` takes `Limits`"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_struct_with_a_written_default_is_found_in_another_file() {
        let files = [
            (
                "host/raft/src/limits.rs",
                "pub struct Bounds { pub a: u8 }\nimpl Default for Bounds { fn default() -> Self { Self { a: 1 } } }",
            ),
            (
                "host/server/src/x.rs",
                "struct B;\nimpl B { fn bounds(self, bounds: Bounds) -> Self { self } }",
            ),
        ];
        assert_eq!(check(&Tree::planted(&files)).len(), 1);
    }

    #[test]
    fn setters_of_single_values_and_other_methods_are_right() {
        for method in [
            "pub fn a(mut self, a: u8) -> Self { self.limits.a = a; self }",
            "pub fn new(limits: Limits) -> Self { Self { limits } }",
            "pub fn check(&self, limits: Limits) -> Self { todo() }",
            "pub fn build(self, limits: Limits) -> u8 { 1 }",
        ] {
            assert_eq!(planted(method), Vec::<String>::new(), "{method}");
        }
    }
}
