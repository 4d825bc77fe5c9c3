//! Every package that is built may be used under a licence that `.cargo/deny.toml` allows, and none is of somewhere
//! else than the public registry. So the rule holds also where cargo-deny is not installed.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::tree::{Finding, Tree};

const ALLOW_LIST: &str = ".cargo/deny.toml";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.source(ALLOW_LIST) else {
        return vec![Finding::new(
            ALLOW_LIST,
            1,
            "the list of allowed licences is missing; write it",
        )];
    };
    match allowed(&list.text) {
        Ok(allowed) => packages(tree)
            .iter()
            .filter_map(|package| objection(package, &allowed))
            .collect(),
        Err(what) => vec![Finding::new(ALLOW_LIST, 1, what)],
    }
}

/// The licences that cargo-deny's configuration allows.
fn allowed(text: &str) -> Result<BTreeSet<String>, String> {
    let config: toml::Table = text
        .parse()
        .map_err(|error| format!("it is no TOML: {error}"))?;
    let list = config
        .get("licenses")
        .and_then(|table| table.get("allow"))
        .and_then(toml::Value::as_array);
    let list = list.ok_or("it lacks `allow` under `[licenses]`; list there what may be used")?;
    Ok(list
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}

/// A package, as cargo describes it.
struct Package {
    name: String,
    licence: String,
    source: Option<String>,
}

/// All packages that this workspace may build: those of each platform where cargo has them at hand, else this one's.
fn packages(tree: &Tree) -> Vec<Package> {
    let host = host_triple();
    let everywhere: &[&str] = &[];
    let metadata = [everywhere, &["--filter-platform", &host]]
        .into_iter()
        .find_map(|platform| metadata(tree, platform));
    let metadata = metadata.expect("cargo describes the workspace that it builds");
    let listed = metadata["packages"]
        .as_array()
        .expect("cargo lists the packages");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let package = |package: &Value| Package {
        name: format!(
            "{} {}",
            package["name"].as_str().unwrap_or("?"),
            package["version"].as_str().unwrap_or("?")
        ),
        licence: text(&package["license"]).unwrap_or_default(),
        source: text(&package["source"]),
    };
    let packages: Vec<Package> = listed.iter().map(package).collect();
    assert!(
        packages.len() > 100,
        "cargo describes {} packages only",
        packages.len()
    );
    packages
}

fn metadata(tree: &Tree, platform: &[&str]) -> Option<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(platform);
    let output = cargo
        .current_dir(&tree.root)
        .output()
        .expect("cargo can be started");
    serde_json::from_slice(&output.stdout)
        .ok()
        .filter(|_| output.status.success())
}

fn host_triple() -> String {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

fn objection(package: &Package, allowed: &BTreeSet<String>) -> Option<Finding> {
    let Package {
        name,
        licence,
        source,
    } = package;
    if source
        .as_ref()
        .is_some_and(|source| !source.starts_with("registry+"))
    {
        return Some(Finding::new(
            "Cargo.lock",
            1,
            format!("{name} is not from a registry; depend on a release"),
        ));
    }
    if licence.is_empty() {
        return Some(Finding::new(
            "Cargo.lock",
            1,
            format!("{name} names no licence; use another package"),
        ));
    }
    let what = match satisfies(licence, allowed) {
        Ok(true) => return None,
        Ok(false) => format!(
            "{name} is under {licence:?}, which {ALLOW_LIST} does not allow; use another package, or allow it"
        ),
        Err(reason) => format!("the licence of {name}, {licence:?}, can't be read: {reason}"),
    };
    Some(Finding::new("Cargo.lock", 1, what))
}

/// Whether what is allowed is enough for an SPDX expression: `OR`, `AND`, `WITH`, parentheses; `/` is an old `OR`.
fn satisfies(expression: &str, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let satisfied = any_of(&mut words, allowed)?;
    words
        .pop()
        .map_or(Ok(satisfied), |word| Err(format!("{word:?} is too much")))
}

fn any_of(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut satisfied = all_of(words, allowed)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        satisfied |= all_of(words, allowed)?;
    }
    Ok(satisfied)
}

fn all_of(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut satisfied = one(words, allowed)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        satisfied &= one(words, allowed)?;
    }
    Ok(satisfied)
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<String>) -> Result<bool, String> {
    match words.pop() {
        None => Err("it ends too early".to_owned()),
        Some("(") => {
            let satisfied = any_of(words, allowed)?;
            let closed = words.pop_if(|word| *word == ")").is_some();
            if closed {
                Ok(satisfied)
            } else {
                Err("a parenthesis is open".to_owned())
            }
        }
        Some(word @ ("OR" | "AND" | "WITH" | ")")) => {
            Err(format!("{word:?} stands in the wrong place"))
        }
        Some(name) => {
            let mut name = name.to_owned();
            if words.pop_if(|word| *word == "WITH").is_some() {
                let exception = words.pop().ok_or("WITH names nothing")?;
                name = format!("{name} WITH {exception}");
            }
            Ok(allowed.contains(&name))
        }
    }
}

mod tests {
    use super::*;

    fn list(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_licence_is_read_as_an_expression() {
        let allowed = list(&["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]);
        for (expression, satisfied) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(GPL-3.0 OR Apache-2.0) AND Unicode-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("Apache-2.0/MIT", true),
            ("GPL-3.0 OR MIT AND GPL-2.0", false),
        ] {
            assert_eq!(
                satisfies(expression, &allowed),
                Ok(satisfied),
                "{expression}"
            );
        }
        for nonsense in ["", "MIT OR", "(MIT", "MIT)", "OR MIT", "MIT Apache-2.0"] {
            assert!(satisfies(nonsense, &allowed).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn a_package_that_may_not_be_used_is_found() {
        let package = |licence: &str, source: &str| Package {
            name: "planted 1.0.0".to_owned(),
            licence: licence.to_owned(),
            source: Some(source.to_owned()),
        };
        let allowed = list(&["MIT"]);
        assert!(objection(&package("MIT", "registry+x"), &allowed).is_none());
        assert!(objection(&package("GPL-3.0-only", "registry+x"), &allowed).is_some());
        assert!(objection(&package("", "registry+x"), &allowed).is_some());
        assert!(objection(&package("MIT", "git+x"), &allowed).is_some());
    }

    #[test]
    fn a_missing_list_is_found() {
        assert_eq!(check(&Tree::planted(&[])).len(), 1);
        assert!(allowed("[licenses]").is_err());
        assert_eq!(allowed("[licenses]\nallow = [\"MIT\"]"), Ok(list(&["MIT"])));
    }
}
