//! Certificates in the directory of `--certs-dir`.

use std::path::Path;

use time::OffsetDateTime;

use crate::doctor::facts::CertificateFacts;
use crate::exit::Failure;
use crate::tls::certificate;
use crate::tls::files;

/// Files with a certificate, and whether it is that of an authority.
const FILES: [(&str, bool); 3] = [
    ("node.crt", false),
    ("client.crt", false),
    (files::AUTHORITIES, true),
];

/// When the certificates in a directory expire.
///
/// # Errors
/// A file is not valid.
pub(super) fn read(dir: Option<&Path>) -> Result<Vec<CertificateFacts>, Failure> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let mut found = Vec::new();
    let Some(dir) = dir else {
        return Ok(found);
    };
    for (name, is_authority) in FILES {
        let file = dir.join(name);
        if !file.exists() {
            continue;
        }
        for certificate in files::certificates(&file).map_err(Failure::failed)? {
            let expires = certificate::not_after(&certificate)
                .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            found.push(CertificateFacts {
                file: file.display().to_string(),
                is_authority,
                seconds: expires - now,
            });
        }
    }
    Ok(found)
}
