//! `oarlock client`: generates a typed client of a guest from its schema.
//!
//! | module | contents |
//! |---|---|
//! | [`python`], [`typescript`], [`rust`] | one language each: types and methods, in a template |
//! | [`fill`] | fills a template |
//! | [`names`] | identifiers, literals and comments of texts that are not trusted |

mod fill;
mod names;
mod python;
mod rust;
mod typescript;

use std::fs;
use std::path::Path;

use oarlock_wasm::{GuestEngine, GuestModule, MachineLimits};

use super::connect::{block_on, connect, refused};
use super::output::{print_safely, write_json, write_out};
use crate::cli::{ClientLanguage, GenerateClientArgs};
use crate::exit::Failure;
use crate::schema::{self, GuestMessages};
use serde_json::json;

/// How a module begins.
const MODULE_MAGIC: &[u8] = b"\0asm";

/// Generates the client, and writes it to a file or standard output.
///
/// # Errors
/// There is no schema, it is not valid, or the file cannot be written.
pub(crate) fn client(args: GenerateClientArgs) -> Result<(), Failure> {
    let text = match &args.schema {
        Some(path) => of_file(path)?,
        None => block_on(of_cluster(&args))?,
    };
    let messages = schema::parse(&text).map_err(|fault| {
        let fault = fault.to_string();
        Failure::failed(format!(
            "the schema of the guest is not valid: {}; host/docs/schema.md describes what a client is generated from",
            print_safely(&fault)
        ))
    })?;
    let source = generate(args.language, &messages);
    let Some(path) = &args.out else {
        return write_out(std::io::stdout().lock(), source.as_bytes());
    };
    fs::write(path, &source).map_err(|error| {
        Failure::failed(format!(
            "cannot write {}: {error}; choose another file with --out",
            path.display()
        ))
    })?;
    let (commands, queries) = (messages.commands.len(), messages.queries.len());
    if args.client.output.json {
        let made =
            json!({"file": path.display().to_string(), "commands": commands, "queries": queries});
        return write_json(std::io::stdout().lock(), &made);
    }
    let line = format!(
        "wrote {}: {commands} commands, {queries} queries\n",
        path.display()
    );
    write_out(std::io::stdout().lock(), line.as_bytes())
}

/// The source of a client.
fn generate(language: ClientLanguage, messages: &GuestMessages) -> String {
    match language {
        ClientLanguage::Rust => rust::generate(messages),
        ClientLanguage::Python => python::generate(messages),
        ClientLanguage::Typescript => typescript::generate(messages),
    }
}

/// The schema in a file: the document itself, or the module that contains it.
fn of_file(path: &Path) -> Result<String, Failure> {
    let bytes = super::input::read(None, Some(path), std::io::empty())?;
    if !bytes.starts_with(MODULE_MAGIC) {
        return String::from_utf8(bytes).map_err(|_| {
            Failure::failed(format!(
                "{} is neither a JSON document nor a module; pass the schema.json of the guest",
                path.display()
            ))
        });
    }
    let engine = GuestEngine::new().map_err(Failure::failed)?;
    let module =
        GuestModule::load(&engine, bytes, &MachineLimits::default()).map_err(Failure::failed)?;
    let schema = &module.description().schema;
    if schema.is_empty() {
        return Err(Failure::failed(format!(
            "the module {} has no schema; host/docs/schema.md describes how to add one",
            path.display()
        )));
    }
    Ok(schema.clone())
}

/// The schema of the guest that a cluster runs.
async fn of_cluster(args: &GenerateClientArgs) -> Result<String, Failure> {
    let client = connect(&args.client)?;
    let found = client
        .schema()
        .await
        .map_err(|error| refused(&error, &error))?;
    String::from_utf8(found.to_vec()).map_err(|_| {
        Failure::failed(
            "the node returned a schema that is not UTF-8; check that --endpoints are nodes",
        )
    })
}

#[cfg(test)]
mod tests;
