//! Signatures of modules: a node with `--module-signers` accepts only modules that one of these keys has signed.
//!
//! A signature is `oarlock-module1.DIGEST.SIGNATURE`: the SHA-256 of the module in hex, and Ed25519 over the text before the last
//! dot, in base64 for URLs without padding. The file of keys has one on each line, in the same encoding; `#` begins a comment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oarlock_wasm::Sha256;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use thiserror::Error;

use crate::tls::files;

/// Begin of a signature, with the version of its format.
const PREFIX: &str = "oarlock-module1";
/// Length of a public key, in bytes.
const PUBLIC_BYTES: usize = 32;
/// Most keys in a file, and most bytes.
const MAX_KEYS: usize = 64;
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Most bytes of a file with a signature.
const MAX_SIGNATURE_FILE_BYTES: u64 = 4 << 10;

/// The keys that may sign modules.
#[derive(Clone, Debug)]
pub(crate) struct ModuleSigners {
    path: Arc<Path>,
    keys: Arc<[[u8; PUBLIC_BYTES]]>,
}

/// Why a module is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum UnsignedModule {
    /// It has no signature.
    #[error(
        "the module is not signed, and this node accepts only modules that a key in {signers} has signed"
    )]
    Missing {
        /// The file of keys.
        signers: String,
    },
    /// The signature has another form.
    #[error("the signature does not have the form of one")]
    Malformed,
    /// It is of another module.
    #[error("the signature is of another module, with the digest {0}")]
    OtherModule(String),
    /// No key that is accepted has made it, or it was changed.
    #[error("no key in {signers} has made this signature")]
    Signature {
        /// The file of keys.
        signers: String,
    },
}

/// A file of keys or a signature can't be used.
#[derive(Debug, Error)]
pub(crate) enum SignersError {
    /// It can't be read.
    #[error("cannot read {}: {source}; {hint}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// It is not valid.
    #[error("{} is not valid: {reason}; write one public key of `oarlock sign-module --new-key` on each line", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ModuleSigners {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// See [`SignersError`].
    pub(crate) fn read(path: &Path) -> Result<Self, SignersError> {
        let hint = "set --module-signers to the file of the keys that may sign modules";
        let text = read_text(path, MAX_FILE_BYTES, hint)?;
        let invalid = |reason: String| SignersError::Invalid {
            path: path.to_owned(),
            reason,
        };
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        let key = |line: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(line).ok();
            let key = bytes.and_then(|bytes| bytes.try_into().ok());
            key.ok_or_else(|| invalid(format!("{line:?} is not a public key")))
        };
        let keys: Vec<[u8; PUBLIC_BYTES]> = lines
            .filter(|line| !line.is_empty())
            .map(key)
            .collect::<Result<_, _>>()?;
        if keys.is_empty() || keys.len() > MAX_KEYS {
            let count = keys.len();
            return Err(invalid(format!(
                "it has {count} keys, but 1 to {MAX_KEYS} are allowed"
            )));
        }
        Ok(Self {
            path: path.into(),
            keys: keys.into(),
        })
    }

    /// Checks that a key in the file has signed a module.
    ///
    /// # Errors
    /// See [`UnsignedModule`].
    pub(crate) fn check(
        &self,
        module: Sha256,
        signature: Option<&str>,
    ) -> Result<(), UnsignedModule> {
        let signers = || self.path.display().to_string();
        let text = signature.ok_or_else(|| UnsignedModule::Missing { signers: signers() })?;
        let (signed, signature) = text.rsplit_once('.').ok_or(UnsignedModule::Malformed)?;
        let digest = signed
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix('.'))
            .ok_or(UnsignedModule::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature);
        let signature = signature.map_err(|_| UnsignedModule::Malformed)?;
        if digest != module.to_string() {
            let digest = digest.chars().take(64).collect();
            return Err(UnsignedModule::OtherModule(digest));
        }
        let is_signed = self.keys.iter().any(|key| {
            UnparsedPublicKey::new(&ED25519, key)
                .verify(signed.as_bytes(), &signature)
                .is_ok()
        });
        if is_signed {
            Ok(())
        } else {
            Err(UnsignedModule::Signature { signers: signers() })
        }
    }
}

/// A key that signs modules.
pub(crate) struct ModuleKey(Ed25519KeyPair);

impl ModuleKey {
    /// A new key, in PKCS#8.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub(crate) fn generate() -> Result<Vec<u8>, String> {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let key = key.map_err(|_| "the operating system gives no random numbers".to_owned())?;
        Ok(key.as_ref().to_vec())
    }

    /// The key in PKCS#8.
    ///
    /// # Errors
    /// The bytes are not such a key.
    pub(crate) fn from_pkcs8(bytes: &[u8]) -> Result<Self, String> {
        Ed25519KeyPair::from_pkcs8(bytes)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Reads a key, which only the user of this process may read.
    ///
    /// # Errors
    /// The file can't be used; the text tells why.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let hint = "create it with `oarlock sign-module --new-key FILE`";
        match files::key(path).map_err(|error| format!("{error}; {hint}"))? {
            PrivateKeyDer::Pkcs8(key) => Self::from_pkcs8(key.secret_pkcs8_der()),
            _ => Err("it is not a key in PKCS#8".to_owned()),
        }
        .map_err(|error| format!("{}: {error}; {hint}", path.display()))
    }

    /// The public key, as text.
    pub(crate) fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// The signature of a module.
    pub(crate) fn sign(&self, module: Sha256) -> String {
        let signed = format!("{PREFIX}.{module}");
        let signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The file with the signature of a module: its name, and `.sig`.
pub(crate) fn signature_path(module: &Path) -> PathBuf {
    let mut path = module.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// Reads the signature in a file. `None`: there is no such file.
///
/// # Errors
/// See [`SignersError`].
pub(crate) fn read_signature(path: &Path) -> Result<Option<String>, SignersError> {
    let hint = "create it with `oarlock sign-module`";
    match read_text(path, MAX_SIGNATURE_FILE_BYTES, hint) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(SignersError::Unreadable { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn read_text(path: &Path, limit: u64, hint: &'static str) -> Result<String, SignersError> {
    let read = || {
        let bytes = fs::metadata(path)?.len();
        if bytes > limit {
            let text = format!("it has {bytes} bytes, more than {limit}");
            return Err(io::Error::other(text));
        }
        fs::read_to_string(path)
    };
    read().map_err(|source| SignersError::Unreadable {
        path: path.to_owned(),
        source,
        hint,
    })
}

#[cfg(test)]
mod tests;
