//! The files of a directory of certificates: `ca.crt` with the authorities that are trusted, `node.crt` and `node.key` of the
//! node, and `revoked` with the serial numbers of certificates that are trusted no more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use super::certificate::{CertificateError, CertificateInfo};
use crate::access::{TokenKeys, TokenSigner};

/// Certificates of trusted authorities: one, or two during a rotation.
pub(crate) const AUTHORITIES: &str = "ca.crt";
/// Key of the authority. It is not on the nodes.
pub(crate) const AUTHORITY_KEY: &str = "ca.key";
/// Public keys of tokens, one on each line.
pub(crate) const TOKEN_KEYS: &str = "token.pub";
/// The key that signs tokens. It is not on the nodes.
pub(crate) const TOKEN_KEY: &str = "token.key";
/// Serial numbers of certificates and ids of tokens, one on each line.
pub(crate) const REVOKED: &str = "revoked";

/// Largest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Most authorities.
const MAX_AUTHORITIES: usize = 8;

/// The files of a node.
#[derive(Debug)]
pub(crate) struct CertFiles {
    /// Certificates of the authorities that are trusted.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// The certificate of the node, and those between it and an authority.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The key of the node.
    pub(crate) key: PrivateKeyDer<'static>,
    /// What the certificate of the node contains.
    pub(crate) own: CertificateInfo,
    /// Serial numbers of revoked certificates and ids of revoked tokens, in hex.
    pub(crate) revoked: BTreeSet<String>,
    /// Keys by which tokens are checked.
    pub(crate) token_keys: TokenKeys,
}

/// A file can't be used.
#[derive(Debug, Error)]
pub(crate) enum CertFileError {
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
    /// Other users can read a key, or it belongs to another user.
    #[error(
        "{} is a private key, and {reason}; make it readable for the user of this process only: `chmod 600` and `chown`",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Who can read it.
        reason: String,
    },
    /// Its content is not valid.
    #[error("{} is not valid: {reason}; create it again with `oarlock cert`", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl CertFiles {
    /// Reads all files of a node.
    ///
    /// # Errors
    /// A file is missing, can't be read, is not valid, or a key is not private.
    pub(crate) fn read(dir: &Path) -> Result<Self, CertFileError> {
        let path = dir.join("node.crt");
        let chain = certificates(&path)?;
        let own = info(&path, &chain)?;
        Ok(Self {
            authorities: authorities(dir)?,
            key: key(&dir.join("node.key"))?,
            chain,
            own,
            revoked: revoked(dir)?,
            token_keys: token_keys(dir)?,
        })
    }
}

/// The authorities in a directory.
///
/// # Errors
/// As [`CertFiles::read`].
pub(crate) fn authorities(dir: &Path) -> Result<Vec<CertificateDer<'static>>, CertFileError> {
    let path = dir.join(AUTHORITIES);
    let found = certificates(&path)?;
    if found.len() > MAX_AUTHORITIES {
        let reason = format!(
            "it has {} authorities, the limit is {MAX_AUTHORITIES}",
            found.len()
        );
        return Err(CertFileError::Invalid { path, reason });
    }
    Ok(found)
}

/// The certificates in a file, at least one.
///
/// # Errors
/// As [`CertFiles::read`].
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertFileError> {
    let text = read(path, "create it with `oarlock cert`")?;
    let invalid = |reason: String| CertFileError::Invalid {
        path: path.to_owned(),
        reason,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| invalid(error.to_string()))?;
    if found.is_empty() {
        return Err(invalid(
            "it contains no certificate in PEM format".to_owned(),
        ));
    }
    Ok(found)
}

/// What the first certificate of a file contains.
///
/// # Errors
/// It is not a certificate of `oarlock cert`.
pub(crate) fn info(
    path: &Path,
    chain: &[CertificateDer<'_>],
) -> Result<CertificateInfo, CertFileError> {
    let first = chain.first().map_or(&[][..], |first| first.as_ref());
    CertificateInfo::of(first).map_err(|error: CertificateError| CertFileError::Invalid {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// A private key, which only the user of this process may read.
///
/// # Errors
/// As [`CertFiles::read`].
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertFileError> {
    let text = private(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| CertFileError::Invalid {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The bytes of a file that only the user of this process may read.
///
/// # Errors
/// As [`CertFiles::read`].
pub(crate) fn private(path: &Path) -> Result<Vec<u8>, CertFileError> {
    let hint = "create it with `oarlock cert`";
    let unreadable = |source| CertFileError::Unreadable {
        path: path.to_owned(),
        source,
        hint,
    };
    // The file that is checked is the one that is read, also if its name is given to another one meanwhile.
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    #[allow(
        unsafe_code,
        reason = "the standard library does not know the user of the process"
    )]
    // SAFETY: the call takes nothing, changes nothing and can't fail.
    let user = unsafe { libc::geteuid() };
    match exposure(metadata.uid(), metadata.mode(), user) {
        Some(reason) => Err(CertFileError::Exposed {
            path: path.to_owned(),
            reason,
        }),
        None => read_file(path, file, hint),
    }
}

/// Why a file with this owner and mode is not private to `user`. `None`: it is. Files of root are as safe as the system.
fn exposure(owner: u32, mode: u32, user: u32) -> Option<String> {
    const ROOT: u32 = 0;
    if owner != user && owner != ROOT {
        return Some(format!("it belongs to the user {owner}"));
    }
    let others = mode & 0o077;
    (others != 0).then(|| format!("other users can use it (mode {:o})", mode & 0o777))
}

/// The key that signs tokens.
///
/// # Errors
/// As [`CertFiles::read`].
pub(crate) fn token_key(dir: &Path) -> Result<TokenSigner, CertFileError> {
    let path = dir.join(TOKEN_KEY);
    let invalid = |reason: String| CertFileError::Invalid {
        path: path.clone(),
        reason,
    };
    match key(&path)? {
        PrivateKeyDer::Pkcs8(key) => TokenSigner::from_pkcs8(key.secret_pkcs8_der())
            .map_err(|error| invalid(error.to_string())),
        _ => Err(invalid("it is not a key in PKCS#8".to_owned())),
    }
}

/// The keys in `token.pub`. Without the file: none, and no token is accepted.
///
/// # Errors
/// As [`CertFiles::read`].
pub(crate) fn token_keys(dir: &Path) -> Result<TokenKeys, CertFileError> {
    let path = dir.join(TOKEN_KEYS);
    let text = optional(&path)?;
    TokenKeys::parse(&text).map_err(|error| CertFileError::Invalid {
        path,
        reason: error.to_string(),
    })
}

/// The serial numbers in `revoked`. Without the file: none.
fn revoked(dir: &Path) -> Result<BTreeSet<String>, CertFileError> {
    let path = dir.join(REVOKED);
    let text = optional(&path)?;
    let entries = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty());
    entries
        .map(|entry| {
            let is_hex = entry.bytes().all(|byte| byte.is_ascii_hexdigit());
            let serial = entry.trim_start_matches('0').to_lowercase();
            if is_hex && !serial.is_empty() {
                return Ok(if serial.len() % 2 == 1 {
                    format!("0{serial}")
                } else {
                    serial
                });
            }
            let reason = format!("{entry:?} is not the serial number of a certificate in hex");
            Err(CertFileError::Invalid {
                path: path.clone(),
                reason,
            })
        })
        .collect()
}

/// The text of a file, which is empty if there is none.
fn optional(path: &Path) -> Result<String, CertFileError> {
    match read(path, "correct the file, or remove it") {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(CertFileError::Unreadable { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(String::new())
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path, hint: &'static str) -> Result<Vec<u8>, CertFileError> {
    let file = File::open(path).map_err(|source| CertFileError::Unreadable {
        path: path.to_owned(),
        source,
        hint,
    })?;
    read_file(path, file, hint)
}

fn read_file(path: &Path, file: File, hint: &'static str) -> Result<Vec<u8>, CertFileError> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| CertFileError::Unreadable {
        path: path.to_owned(),
        source,
        hint,
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CertFileError::Invalid {
            path: path.to_owned(),
            reason: format!("it has more than {MAX_BYTES} bytes, the limit"),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_key_is_private_if_it_belongs_to_the_user_or_to_root_and_no_one_else_can_use_it() {
        const USER: u32 = 1000;
        for (owner, mode, refused) in [
            (USER, 0o100_600, None),
            (USER, 0o100_400, None),
            (0, 0o100_600, None),
            (1001, 0o100_600, Some("it belongs to the user 1001")),
            (1001, 0o100_644, Some("it belongs to the user 1001")),
            (USER, 0o100_640, Some("other users can use it (mode 640)")),
            (USER, 0o100_602, Some("other users can use it (mode 602)")),
            (0, 0o100_644, Some("other users can use it (mode 644)")),
        ] {
            let found = exposure(owner, mode, USER);
            assert_eq!(found.as_deref(), refused, "{owner} {mode:o}");
        }
        // A process of root does not trust the files of others either.
        assert!(exposure(USER, 0o100_600, 0).is_some());
    }

    /// Only root can give a file away. Where the test can't, the process takes the other part: it is refused to do so.
    #[test]
    fn a_key_that_was_given_to_another_user_is_refused() {
        const OTHER: u32 = 65_534;
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("node.key");
        fs::write(&key, "a key").expect("a file");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
        assert_eq!(private(&key).expect("its own file"), b"a key");
        match chown(&key, Some(OTHER), None) {
            Ok(()) => {
                let error = private(&key).expect_err("refused").to_string();
                assert!(error.contains("it belongs to the user 65534"), "{error}");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
