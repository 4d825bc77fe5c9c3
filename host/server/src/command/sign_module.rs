//! `oarlock sign-module`: signatures of modules, for nodes with `--module-signers`.

use std::path::Path;

use oarlock_wasm::{GuestModule, Sha256};
use serde::Serialize;

use super::input;
use super::output::{write_json, write_out};
use crate::cli::SignModuleArgs;
use crate::exit::Failure;
use crate::signers::{ModuleKey, signature_path};
use crate::tls::issue;

/// What was signed or created, for `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum SignResult {
    Key { public_key: String },
    Signature { sha256: String, signature: String },
}

/// Signs a module, or creates a key.
///
/// # Errors
/// A file can't be read or written.
pub(crate) fn sign_module(args: SignModuleArgs) -> Result<(), Failure> {
    let result = match (&args.new_key, &args.file, &args.key) {
        (Some(path), _, _) => create_key(path)?,
        (_, Some(file), Some(key)) => sign(file, key)?,
        // The flags require one another.
        _ => return Err(Failure::usage("pass FILE.wasm and --key, or --new-key")),
    };
    if args.output.json {
        return write_json(std::io::stdout().lock(), &result);
    }
    let line = match &result {
        SignResult::Key { public_key } => format!("{public_key}\n"),
        SignResult::Signature { signature, .. } => format!("{signature}\n"),
    };
    write_out(std::io::stdout().lock(), line.as_bytes())
}

fn create_key(path: &Path) -> Result<SignResult, Failure> {
    let key = ModuleKey::generate().map_err(Failure::failed)?;
    let public_key = ModuleKey::from_pkcs8(&key)
        .map_err(Failure::failed)?
        .public();
    issue::write_new_key(path, &key).map_err(Failure::failed)?;
    Ok(SignResult::Key { public_key })
}

fn sign(file: &Path, key: &Path) -> Result<SignResult, Failure> {
    let key = ModuleKey::read(key).map_err(Failure::failed)?;
    let module = input::read(None, Some(file), std::io::empty())?;
    if !GuestModule::is_binary(&module) {
        return Err(Failure::failed(format!(
            "{} is not a WebAssembly binary, and only a binary can be signed; name the file that the build wrote",
            file.display()
        )));
    }
    let sha256 = Sha256::of(&module);
    let signature = key.sign(sha256);
    let path = signature_path(file);
    std::fs::write(&path, format!("{signature}\n")).map_err(|error| {
        Failure::failed(format!(
            "cannot write {}: {error}; check that the directory is writable",
            path.display()
        ))
    })?;
    Ok(SignResult::Signature {
        sha256: sha256.to_string(),
        signature,
    })
}
