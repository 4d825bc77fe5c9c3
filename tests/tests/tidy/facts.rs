//! The names, calls and definitions in a Rust file: the facts that the rules check.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, Token, UseTree, Visibility};

use super::tree::{Finding, Source};

/// Something in a Rust file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// A path of more than one part, with the names of `use` resolved: `std::time::Instant::now`. A path in
    /// this package begins with `crate`.
    Path(String),
    /// A method that is called.
    Method(String),
    /// A macro that is called, by its last name.
    Macro(String),
    /// An attribute, by its last name.
    Attribute(String),
    /// The name of a type that other files can use: its definition.
    SharedType(String),
}

/// A fact and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) line: usize,
    /// Only builds for tests have it.
    pub(crate) in_test: bool,
    pub(crate) fact: Fact,
}

/// Reads a file.
pub(crate) fn of(source: &Source) -> Result<Vec<Seen>, Finding> {
    let file = parse(source)?;
    let mut reader = Reader {
        module: source.module(),
        aliases: BTreeMap::new(),
        children: BTreeSet::new(),
        in_test: usize::from(source.is_test()),
        seen: Vec::new(),
    };
    reader.learn(&file.items);
    reader.visit_file(&file);
    Ok(reader.seen)
}

/// Names of the modules that a file declares and only tests include.
pub(crate) fn test_modules(source: &Source) -> Vec<String> {
    // The rules report a file that is not valid Rust.
    let items = parse(source).map_or_else(|_| Vec::new(), |file| file.items);
    let for_tests = items.iter().filter_map(|item| match item {
        Item::Mod(item) if item.content.is_none() && item.attrs.iter().any(is_test) => {
            Some(item.ident.to_string())
        }
        _ => None,
    });
    for_tests.collect()
}

fn parse(source: &Source) -> Result<syn::File, Finding> {
    syn::parse_file(&source.text).map_err(|error| {
        let line = error.span().start().line;
        Finding::new(&source.path, line, format!("it is no Rust: {error}"))
    })
}

struct Reader {
    module: Vec<String>,
    /// What `use` calls something, and its full path.
    aliases: BTreeMap<String, String>,
    /// Full paths of the modules that this file declares.
    children: BTreeSet<Vec<String>>,
    /// How many items around this one are tests.
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

    /// Records the modules that the file declares and the names that its `use` lines define.
    fn learn(&mut self, items: &[Item]) {
        for item in items {
            if let Item::Mod(item) = item {
                let child = self.module.iter().cloned().chain([item.ident.to_string()]);
                self.children.insert(child.collect());
            }
        }
        for item in items {
            match item {
                Item::Use(item) => {
                    for (alias, path, _) in flatten(&item.tree) {
                        let path = self.absolute(&path, item.leading_colon.is_some());
                        self.aliases.insert(alias, path);
                    }
                }
                Item::Mod(item) => {
                    if let Some((_, items)) = &item.content {
                        self.module.push(item.ident.to_string());
                        self.learn(items);
                        self.module.pop();
                    }
                }
                _ => {}
            }
        }
    }

    /// The path from the root of its package or of another one.
    fn absolute(&self, path: &str, of_another: bool) -> String {
        let mut parts: Vec<&str> = path.split("::").collect();
        let mut base = self.module.clone();
        let first = parts.first().copied().unwrap_or_default();
        let child = base.iter().cloned().chain([first.to_owned()]);
        let is_child = self.children.contains(&child.collect::<Vec<_>>());
        if of_another || !(is_child || matches!(first, "self" | "super")) {
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

    fn add_path(&mut self, span: Span, parts: &[String], of_another: bool) {
        let Some((first, rest)) = parts.split_first() else {
            return;
        };
        let known = self.aliases.get(first).filter(|_| !of_another).cloned();
        let whole = known.is_some() || !rest.is_empty();
        if whole {
            let start = known.unwrap_or_else(|| first.clone());
            let path = std::iter::once(start)
                .chain(rest.iter().cloned())
                .collect::<Vec<_>>();
            let path = self.absolute(&path.join("::"), of_another);
            self.add(span, Fact::Path(path));
        }
    }

    /// Tokens of a macro are not parsed; paths, method calls and macros in them are found anyway.
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
                        let of_another = at > 0 && is_punct(&tokens[at - 1], ':');
                        self.add_path(ident.span(), &parts, of_another);
                    }
                    at = next;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn add_type(&mut self, item: &Item) {
        let (name, vis) = match item {
            Item::Enum(item) => (&item.ident, &item.vis),
            Item::Struct(item) => (&item.ident, &item.vis),
            Item::Trait(item) => (&item.ident, &item.vis),
            Item::Union(item) => (&item.ident, &item.vis),
            _ => return,
        };
        if !matches!(vis, Visibility::Inherited) {
            self.add(name.span(), Fact::SharedType(name.to_string()));
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let test = attributes(item).iter().any(is_test);
        self.in_test += usize::from(test);
        self.add_type(item);
        visit::visit_item(self, item);
        self.in_test -= usize::from(test);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    /// `pub(in crate::x)` names a module without using it.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for (_, path, span) in flatten(&item.tree) {
            let path = self.absolute(&path, item.leading_colon.is_some());
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
            self.add_path(first.ident.span(), &parts, path.leading_colon.is_some());
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

/// Whether only builds for tests have what the attribute stands at: a test, or a `cfg` that needs `test` or a feature
/// for tests.
fn is_test(attr: &Attribute) -> bool {
    let is_cfg = attr.path().is_ident("cfg");
    let cfg_test = is_cfg
        && attr
            .parse_args::<Meta>()
            .is_ok_and(|meta| needs_test(&meta));
    let last = attr.path().segments.last();
    cfg_test || last.is_some_and(|last| last.ident == "test")
}

fn needs_test(predicate: &Meta) -> bool {
    match predicate {
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(pair) => {
            let value = &pair.value;
            pair.path.is_ident("feature") && quote_free(value).is_some_and(|name| name == "testing")
        }
        Meta::List(list) => {
            let parts = Punctuated::<Meta, Token![,]>::parse_terminated;
            let parts = parts.parse2(list.tokens.clone()).unwrap_or_default();
            if list.path.is_ident("any") {
                !parts.is_empty() && parts.iter().all(needs_test)
            } else {
                list.path.is_ident("all") && parts.iter().any(needs_test)
            }
        }
    }
}

/// The text of a literal.
fn quote_free(value: &syn::Expr) -> Option<String> {
    match value {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
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
        Item::Union(item) => &item.attrs,
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
    fn what_a_cfg_keeps_for_tests_is_a_test() {
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
