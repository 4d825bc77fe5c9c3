//! What a Rust file names, calls and promises: facts that the rules look through.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree, Visibility};

use super::tree::{Finding, Source};

/// Something in a Rust file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A path of more than one part, with the names that `use` gave put back: `std::time::Instant::now`.
    Path(String),
    /// A method that is called.
    Method(String),
    /// A macro that is called, by its last name.
    Macro(String),
    /// An attribute, by its last name.
    Attribute(String),
    /// Something public without a docstring.
    Undocumented(String),
}

/// A fact and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: usize,
    /// In a file of tests, or under `#[cfg(test)]`.
    pub(crate) in_test: bool,
    pub(crate) fact: Fact,
}

/// Reads a file.
pub(crate) fn of(source: &Source) -> Result<Vec<Seen>, Finding> {
    let file = syn::parse_file(&source.text).map_err(|error| {
        Finding::new(
            &source.path,
            error.span().start().line,
            format!("it is no Rust: {error}"),
        )
    })?;
    let mut reader = Reader {
        module: module_of(&source.path),
        aliases: BTreeMap::new(),
        public_types: BTreeSet::new(),
        private_types: BTreeSet::new(),
        in_test: usize::from(source.is_test()),
        seen: Vec::new(),
    };
    reader.learn(&file.items);
    reader.visit_file(&file);
    Ok(reader.seen)
}

/// The module that a file is, as in `crate::raft::election`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.rsplit_once("src/").map_or("", |(_, inner)| inner);
    let inner = inner.trim_end_matches(".rs");
    let inner = if matches!(inner, "lib" | "main") {
        ""
    } else {
        inner
    };
    let parts = inner
        .split('/')
        .filter(|part| !part.is_empty() && *part != "mod");
    std::iter::once("crate")
        .chain(parts)
        .map(str::to_owned)
        .collect()
}

struct Reader {
    module: Vec<String>,
    /// What `use` calls something, and its full path.
    aliases: BTreeMap<String, String>,
    public_types: BTreeSet<String>,
    private_types: BTreeSet<String>,
    /// How many things around this one are tests.
    in_test: usize,
    seen: Vec<Seen>,
}

impl Reader {
    fn add(&mut self, span: Span, fact: Fact) {
        let (line, in_test) = (span.start().line, self.in_test > 0);
        self.seen.push(Seen {
            line,
            in_test,
            fact,
        });
    }

    /// Learns the names that the file's `use` lines give, and which of its types are public.
    fn learn(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Use(item) => {
                    for (alias, path, _) in flatten(&item.tree) {
                        let path = self.absolute(&path);
                        self.aliases.insert(alias, path);
                    }
                }
                Item::Struct(item) => self.learn_type(&item.ident, &item.vis),
                Item::Enum(item) => self.learn_type(&item.ident, &item.vis),
                Item::Mod(item) => {
                    if let Some((_, items)) = &item.content {
                        self.learn(items);
                    }
                }
                _ => {}
            }
        }
    }

    fn learn_type(&mut self, name: &syn::Ident, vis: &Visibility) {
        let types = if is_public(vis) {
            &mut self.public_types
        } else {
            &mut self.private_types
        };
        types.insert(name.to_string());
    }

    /// The path from the root of its crate or of another one.
    fn absolute(&self, path: &str) -> String {
        let mut parts: Vec<&str> = path.split("::").collect();
        let mut base = self.module.clone();
        if !matches!(parts.first(), Some(&("self" | "super"))) {
            return path.to_owned();
        }
        while let Some(first) = parts.first() {
            match *first {
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            parts.remove(0);
        }
        base.extend(parts.iter().map(|part| (*part).to_owned()));
        base.join("::")
    }

    fn add_path(&mut self, span: Span, parts: &[String]) {
        let Some((first, rest)) = parts.split_first() else {
            return;
        };
        let known = self.aliases.get(first).cloned();
        let whole = known.is_some() || !rest.is_empty();
        if whole {
            let start = known.unwrap_or_else(|| first.clone());
            let path = std::iter::once(start)
                .chain(rest.iter().cloned())
                .collect::<Vec<_>>();
            let path = self.absolute(&path.join("::"));
            self.add(span, Fact::Path(path));
        }
    }

    /// Tokens of a macro are not parsed; paths, method calls and macros in them are found all the same.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(ident) => {
                    let (parts, next) = path_from(&tokens, at);
                    let called = matches!(tokens.get(next), Some(TokenTree::Group(_)));
                    let after_dot = at > 0 && is_punct(&tokens[at - 1], '.');
                    if after_dot && called {
                        self.add(ident.span(), Fact::Method(parts.concat()));
                    } else if next < tokens.len() && is_punct(&tokens[next], '!') {
                        let name = parts.last().cloned().unwrap_or_default();
                        self.add(ident.span(), Fact::Macro(name));
                    } else {
                        self.add_path(ident.span(), &parts);
                    }
                    at = next;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn undocumented(
        &mut self,
        attrs: &[Attribute],
        vis: &Visibility,
        name: &syn::Ident,
        what: &str,
    ) {
        if is_public(vis) {
            self.must_say(attrs, name, what);
        }
    }

    fn must_say(&mut self, attrs: &[Attribute], name: &syn::Ident, what: &str) {
        if !attrs.iter().any(|attr| attr.path().is_ident("doc")) {
            self.add(name.span(), Fact::Undocumented(format!("{what} `{name}`")));
        }
    }

    fn check_fields(&mut self, fields: &syn::Fields) {
        for field in fields {
            if let Some(name) = &field.ident {
                self.undocumented(&field.attrs, &field.vis, name, "field");
            }
        }
    }

    /// Docstrings of an item and of its parts.
    fn check_docs(&mut self, item: &Item) {
        match item {
            Item::Fn(item) => {
                self.undocumented(&item.attrs, &item.vis, &item.sig.ident, "function");
            }
            Item::Const(item) => self.undocumented(&item.attrs, &item.vis, &item.ident, "constant"),
            Item::Static(item) => self.undocumented(&item.attrs, &item.vis, &item.ident, "static"),
            Item::Type(item) => self.undocumented(&item.attrs, &item.vis, &item.ident, "type"),
            Item::Struct(item) => {
                self.undocumented(&item.attrs, &item.vis, &item.ident, "struct");
                if is_public(&item.vis) && !is_excused(&item.attrs) {
                    self.check_fields(&item.fields);
                }
            }
            Item::Enum(item) if is_public(&item.vis) && !is_excused(&item.attrs) => {
                self.must_say(&item.attrs, &item.ident, "enum");
                for variant in &item.variants {
                    self.must_say(&variant.attrs, &variant.ident, "variant");
                }
            }
            Item::Trait(item) if is_public(&item.vis) => {
                self.must_say(&item.attrs, &item.ident, "trait");
                for item in &item.items {
                    match item {
                        syn::TraitItem::Fn(item) => {
                            self.must_say(&item.attrs, &item.sig.ident, "method");
                        }
                        syn::TraitItem::Type(item) => {
                            self.must_say(&item.attrs, &item.ident, "type");
                        }
                        syn::TraitItem::Const(item) => {
                            self.must_say(&item.attrs, &item.ident, "constant");
                        }
                        _ => {}
                    }
                }
            }
            Item::Impl(item) if item.trait_.is_none() && self.is_reachable(&item.self_ty) => {
                for item in &item.items {
                    match item {
                        syn::ImplItem::Fn(item) => {
                            self.undocumented(&item.attrs, &item.vis, &item.sig.ident, "method");
                        }
                        syn::ImplItem::Const(item) => {
                            self.undocumented(&item.attrs, &item.vis, &item.ident, "constant");
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a type is public, or from another file so that it may be.
    fn is_reachable(&self, of: &syn::Type) -> bool {
        let syn::Type::Path(path) = of else {
            return true;
        };
        let name = path
            .path
            .segments
            .last()
            .map(|part| part.ident.to_string())
            .unwrap_or_default();
        !self.private_types.contains(&name) || self.public_types.contains(&name)
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let test = attributes(item).iter().any(is_test);
        self.in_test += usize::from(test);
        self.check_docs(item);
        visit::visit_item(self, item);
        self.in_test -= usize::from(test);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for (_, path, span) in flatten(&item.tree) {
            let path = self.absolute(&path);
            self.add(span, Fact::Path(path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if let Some(first) = path.segments.first() {
            self.add_path(first.ident.span(), &parts);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.add(call.method.span(), Fact::Method(call.method.to_string()));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        if let Some(name) = called.path.segments.last() {
            self.add(name.ident.span(), Fact::Macro(name.ident.to_string()));
        }
        self.visit_path(&called.path);
        self.scan(called.tokens.clone());
    }

    fn visit_attribute(&mut self, attr: &'ast Attribute) {
        if let Some(name) = attr.path().segments.last() {
            self.add(name.ident.span(), Fact::Attribute(name.ident.to_string()));
        }
    }
}

/// Each name that a `use` gives, with its path.
fn flatten(tree: &UseTree) -> Vec<(String, String, Span)> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let below = flatten(&path.tree).into_iter();
            let join = |(alias, rest, span): (String, String, Span)| {
                // `a::{self}` names `a`.
                let itself = rest == "self";
                let alias = if itself && alias == "self" {
                    first.clone()
                } else {
                    alias
                };
                let path = if itself {
                    first.clone()
                } else {
                    format!("{first}::{rest}")
                };
                (alias, path, span)
            };
            below.map(join).collect()
        }
        UseTree::Name(name) => {
            vec![(
                name.ident.to_string(),
                name.ident.to_string(),
                name.ident.span(),
            )]
        }
        UseTree::Rename(name) => {
            vec![(
                name.rename.to_string(),
                name.ident.to_string(),
                name.ident.span(),
            )]
        }
        UseTree::Glob(glob) => vec![("*".to_owned(), "*".to_owned(), glob.star_token.span)],
        UseTree::Group(group) => group.items.iter().flat_map(flatten).collect(),
    }
}

/// The path that begins at a token, and where it ends.
fn path_from(tokens: &[TokenTree], start: usize) -> (Vec<String>, usize) {
    let mut parts = Vec::new();
    let mut at = start;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        parts.push(ident.to_string());
        let joined = tokens.get(at + 1).is_some_and(|token| is_punct(token, ':'))
            && tokens.get(at + 2).is_some_and(|token| is_punct(token, ':'))
            && matches!(tokens.get(at + 3), Some(TokenTree::Ident(_)));
        if !joined {
            return (parts, at + 1);
        }
        at += 3;
    }
    (parts, at)
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

/// Whether the compiler is told, with a reason, that the parts of an item are described elsewhere.
fn is_excused(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let Meta::List(list) = &attr.meta else {
            return false;
        };
        let said = list.tokens.to_string();
        list.path.is_ident("expect") && said.contains("missing_docs") && said.contains("reason")
    })
}

fn is_test(attr: &Attribute) -> bool {
    let cfg_test = attr.path().is_ident("cfg")
        && attr
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"));
    cfg_test
        || attr
            .path()
            .segments
            .last()
            .is_some_and(|last| last.ident == "test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

mod tests {
    use super::*;

    fn facts(path: &str, text: &str) -> Vec<Seen> {
        of(&Source::new(path, text)).unwrap()
    }

    fn paths(path: &str, text: &str) -> Vec<String> {
        let seen = facts(path, text).into_iter();
        seen.filter_map(|seen| {
            if let Fact::Path(path) = seen.fact {
                Some(path)
            } else {
                None
            }
        })
        .collect()
    }

    #[test]
    fn names_that_use_gave_are_put_back() {
        let text = "use std::time as clock;\nfn f() { clock::Instant::now(); }";
        assert_eq!(
            paths("a/src/b.rs", text),
            ["std::time", "std::time::Instant::now"]
        );
    }

    #[test]
    fn a_path_above_is_named_from_the_root_of_the_crate() {
        let text = "use super::super::driver::Driver;\nuse self::x::Y;";
        let found = paths("host/raft/src/raft/election.rs", text);
        assert_eq!(
            found,
            ["crate::driver::Driver", "crate::raft::election::x::Y"]
        );
    }

    #[test]
    fn what_a_macro_names_is_found() {
        let seen = facts(
            "a/src/b.rs",
            "fn f() { select! { _ = std::fs::read(x.unwrap()) => todo!() } }",
        );
        let found: Vec<Fact> = seen.into_iter().map(|seen| seen.fact).collect();
        assert!(
            found.contains(&Fact::Path("std::fs::read".to_owned())),
            "{found:?}"
        );
        assert!(
            found.contains(&Fact::Method("unwrap".to_owned())),
            "{found:?}"
        );
        assert!(found.contains(&Fact::Macro("todo".to_owned())), "{found:?}");
    }

    #[test]
    fn what_stands_under_cfg_test_is_a_test() {
        let seen = facts(
            "a/src/b.rs",
            "#[cfg(test)]\nmod t { fn f() { a::b(); } }\nfn g() { a::c(); }",
        );
        let path = |name: &str| {
            let fact = Fact::Path(name.to_owned());
            seen.iter()
                .find(|seen| seen.fact == fact)
                .map(|seen| (seen.line, seen.in_test))
        };
        assert_eq!(
            (path("a::b"), path("a::c")),
            (Some((2, true)), Some((3, false)))
        );
    }
}
