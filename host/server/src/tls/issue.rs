//! New authorities and certificates.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use super::certificate::CertificateInfo;
use super::files::{
    self, AUTHORITIES, AUTHORITY_KEY, CertFileError, REVOKED, TOKEN_KEY, TOKEN_KEYS,
};
use super::identity::{CertIdentity, CertOwner};
use crate::access::{TokenKeyError, TokenSigner};

/// Certificates are valid from this long before they are made, so that a clock may be slow.
const BACKDATED: Duration = Duration::minutes(5);
/// Random bytes of a serial number. The first bit is cleared, because serial numbers are positive.
const SERIAL_BYTES: usize = 16;

/// Why a certificate can't be made.
#[derive(Debug, Error)]
pub(crate) enum IssueError {
    /// A file can't be used.
    #[error(transparent)]
    File(#[from] CertFileError),
    /// A file exists already.
    #[error("{} exists already; to replace it, {hint}", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A file can't be written.
    #[error("cannot write {}: {source}; check its directory", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The key of tokens can't be made.
    #[error(transparent)]
    TokenKey(#[from] TokenKeyError),
    /// A name can't be in a certificate.
    #[error("the certificate can't be made: {0}; correct its names")]
    Certificate(#[from] rcgen::Error),
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What a new certificate contains.
#[derive(Clone, Debug)]
pub(crate) struct CertificateRequest {
    /// Node or client.
    pub(crate) owner: CertOwner,
    /// Host names and addresses of a node.
    pub(crate) hosts: Vec<String>,
    /// How long it is valid.
    pub(crate) days: u32,
}

/// An authority with its key.
pub(crate) struct Authority {
    /// Its certificate and those of earlier authorities, in PEM.
    pem: String,
    /// The public keys of tokens.
    token_keys: Vec<String>,
    cluster: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority, and writes its files. With `rotate`, the present authority stays trusted too.
    ///
    /// # Errors
    /// Files exist already, or can't be written.
    pub(crate) fn create(
        dir: &Path,
        cluster: &str,
        days: u32,
        rotate: bool,
    ) -> Result<(), IssueError> {
        let (certificate, key) = (dir.join(AUTHORITIES), dir.join(AUTHORITY_KEY));
        let before = if rotate {
            let present = files::authorities(dir)?;
            present.first().map(pem_of).unwrap_or_default()
        } else {
            let hint = "use --rotate, or another directory";
            refuse_existing(&certificate, hint)?;
            refuse_existing(&key, hint)?;
            String::new()
        };
        let owner = CertOwner::Authority;
        let mut params = params(cluster, &owner, &[], days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = KeyPair::generate()?;
        let new = params.self_signed(&pair)?;
        make_dir(dir)?;
        if !dir.join(TOKEN_KEY).exists() {
            create_token_key(dir, None)?;
        }
        write(&key, pair.serialize_pem().as_bytes(), 0o600)?;
        write(
            &certificate,
            format!("{}{before}", new.pem()).as_bytes(),
            0o644,
        )
    }

    /// Reads an authority and its key.
    ///
    /// # Errors
    /// A file can't be used.
    pub(crate) fn read(dir: &Path) -> Result<Self, IssueError> {
        let found = files::authorities(dir)?;
        let path = dir.join(AUTHORITIES);
        let info = files::info(&path, &found)?;
        let key = String::from_utf8_lossy(&files::private(&dir.join(AUTHORITY_KEY))?).into_owned();
        let invalid = |name: &str, error: rcgen::Error| CertFileError::Invalid {
            path: dir.join(name),
            reason: error.to_string(),
        };
        let key = KeyPair::from_pem(&key).map_err(|error| invalid(AUTHORITY_KEY, error))?;
        let first = found
            .first()
            .cloned()
            .unwrap_or_else(|| CertificateDer::from(Vec::new()));
        let issuer =
            Issuer::from_ca_cert_der(&first, key).map_err(|error| invalid(AUTHORITIES, error))?;
        Ok(Self {
            pem: found.iter().map(pem_of).collect(),
            token_keys: files::token_keys(dir)?.texts(),
            cluster: info.identity.cluster,
            issuer,
        })
    }

    /// Makes a certificate and its key, and writes them to a directory, with the certificates of the authorities. `replace`:
    /// files may exist already.
    ///
    /// # Errors
    /// Files exist already, or can't be written. A name can't be in a certificate.
    pub(crate) fn issue(
        &self,
        request: &CertificateRequest,
        dir: &Path,
        replace: bool,
    ) -> Result<(), IssueError> {
        let name = file_name(&request.owner);
        let (certificate, key) = (
            dir.join(format!("{name}.crt")),
            dir.join(format!("{name}.key")),
        );
        refuse_other_owner(dir, name)?;
        if !replace {
            let hint = "use `oarlock cert renew`, or another directory";
            refuse_existing(&certificate, hint)?;
            refuse_existing(&key, hint)?;
        }
        let CertificateRequest { owner, hosts, days } = request;
        let mut params = params(&self.cluster, owner, hosts, *days)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match owner {
            CertOwner::Client(..) => vec![ExtendedKeyUsagePurpose::ClientAuth],
            _ => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        };
        let pair = KeyPair::generate()?;
        let new = params.signed_by(&pair, &self.issuer)?;
        make_dir(dir)?;
        self.write_authorities(dir)?;
        write(&key, pair.serialize_pem().as_bytes(), 0o600)?;
        write(&certificate, new.pem().as_bytes(), 0o644)
    }

    /// Writes the certificates of the authorities to a directory.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn write_authorities(&self, dir: &Path) -> Result<(), IssueError> {
        let keys: String = self
            .token_keys
            .iter()
            .map(|key| format!("{key}\n"))
            .collect();
        write(&dir.join(TOKEN_KEYS), keys.as_bytes(), 0o644)?;
        write(&dir.join(AUTHORITIES), self.pem.as_bytes(), 0o644)
    }
}

/// Makes the key that signs tokens. `before`: the public key of an earlier one, whose tokens stay valid.
fn create_token_key(dir: &Path, before: Option<String>) -> Result<(), IssueError> {
    let key = TokenSigner::generate()?;
    let public = TokenSigner::from_pkcs8(&key)?.public();
    let pem = pem_block("PRIVATE KEY", &key);
    write(&dir.join(TOKEN_KEY), pem.as_bytes(), 0o600)?;
    let keys: String = [public]
        .into_iter()
        .chain(before)
        .map(|key| key + "\n")
        .collect();
    write(&dir.join(TOKEN_KEYS), keys.as_bytes(), 0o644)
}

/// Replaces the key that signs tokens. Tokens of the one before stay valid until [`drop_old_token_keys`].
///
/// # Errors
/// The files can't be read or written.
pub(crate) fn rotate_token_key(dir: &Path) -> Result<(), IssueError> {
    let before = files::token_keys(dir)?;
    let before = before.texts().into_iter().next();
    create_token_key(dir, before)
}

/// Removes all public keys of tokens but the newest one from a directory.
///
/// # Errors
/// The files can't be read or written.
pub(crate) fn drop_old_token_keys(dir: &Path) -> Result<(), IssueError> {
    let newest = files::token_key(dir)?.public();
    write(
        &dir.join(TOKEN_KEYS),
        format!("{newest}\n").as_bytes(),
        0o644,
    )
}

/// Removes all authorities but the newest one from a directory.
///
/// # Errors
/// The file can't be read or written.
pub(crate) fn drop_old_authorities(dir: &Path) -> Result<(), IssueError> {
    let found = files::authorities(dir)?;
    let newest = found.first().map(pem_of).unwrap_or_default();
    write(&dir.join(AUTHORITIES), newest.as_bytes(), 0o644)
}

/// Adds the serial number of a certificate to the file `revoked` of a directory.
///
/// # Errors
/// The file can't be written.
pub(crate) fn revoke(dir: &Path, revoked: &CertificateInfo) -> Result<(), IssueError> {
    revoke_id(dir, &revoked.serial, &revoked.identity.to_string())
}

/// Adds a serial number, or the id of a token, to the file `revoked` of a directory.
///
/// # Errors
/// The file can't be written.
pub(crate) fn revoke_id(dir: &Path, id: &str, note: &str) -> Result<(), IssueError> {
    let path = dir.join(REVOKED);
    let mut text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(IssueError::Write { path, source }),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("{id}  # {note}\n"));
    write(&path, text.as_bytes(), 0o644)
}

/// Writes a new private key, in PKCS#8, to a file that does not exist yet and that only the user of this process can read.
///
/// # Errors
/// The file exists already, or can't be written.
pub(crate) fn write_new_key(path: &Path, key: &[u8]) -> Result<(), IssueError> {
    refuse_existing(path, "use another file")?;
    write(path, pem_block("PRIVATE KEY", key).as_bytes(), 0o600)
}

/// Writes a token to a file that only the user of this process can read.
///
/// # Errors
/// The file can't be written.
pub(crate) fn write_token(path: &Path, token: &str) -> Result<(), IssueError> {
    write(path, format!("{token}\n").as_bytes(), 0o600)
}

/// `node` or `client`: the name of the files of an owner, without their ending.
pub(crate) fn file_name(owner: &CertOwner) -> &'static str {
    match owner {
        CertOwner::Authority => "ca",
        CertOwner::Node(_) => "node",
        CertOwner::Client(..) => "client",
    }
}

fn params(
    cluster: &str,
    owner: &CertOwner,
    hosts: &[String],
    days: u32,
) -> Result<CertificateParams, IssueError> {
    let identity = CertIdentity {
        cluster: cluster.to_owned(),
        owner: owner.clone(),
    };
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Oarlock");
    let mut serial = [0; SERIAL_BYTES];
    getrandom::fill(&mut serial).map_err(IssueError::Random)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    let common = match owner {
        // With a name of its own, another authority of the same cluster is not taken for it.
        CertOwner::Authority => format!(
            "CA {:08x} of {cluster}",
            u32::from_be_bytes([serial[0], serial[1], serial[2], serial[3]])
        ),
        CertOwner::Node(name) | CertOwner::Client(name, _) => name.clone(),
    };
    // X.520 limits a common name to 64 characters. Only the URI counts.
    name.push(
        DnType::CommonName,
        common.chars().take(64).collect::<String>(),
    );
    params.distinguished_name = name;
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    for host in hosts {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.clone().try_into()?),
        });
    }
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::days(i64::from(days));
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn pem_of(certificate: &CertificateDer<'static>) -> String {
    pem_block("CERTIFICATE", certificate)
}

/// Bytes in PEM (RFC 7468).
fn pem_block(label: &str, bytes: &[u8]) -> String {
    let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, bytes), lines)
}

/// A directory is for one owner: the files of another one would be taken for those of this one.
fn refuse_other_owner(dir: &Path, name: &str) -> Result<(), IssueError> {
    let hint = "use another directory with --out";
    ["node", "client"]
        .into_iter()
        .filter(|other| *other != name)
        .try_for_each(|other| refuse_existing(&dir.join(format!("{other}.crt")), hint))
}

fn refuse_existing(path: &Path, hint: &'static str) -> Result<(), IssueError> {
    if path.exists() {
        return Err(IssueError::Exists {
            path: path.to_owned(),
            hint,
        });
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<(), IssueError> {
    fs::create_dir_all(dir).map_err(|source| IssueError::Write {
        path: dir.to_owned(),
        source,
    })
}

/// Replaces a file as a whole: a node that reads it at this moment gets the old one or the new one.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), IssueError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let writing = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir.unwrap_or(Path::new(".")))?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    writing().map_err(|source| IssueError::Write {
        path: path.to_owned(),
        source,
    })
}
