//! What a certificate contains.

use std::net::IpAddr;

use oarlock_wasm::Sha256;
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::identity::CertIdentity;

/// What a certificate contains. Nothing about whether it is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateInfo {
    /// Who it belongs to.
    pub(crate) identity: CertIdentity,
    /// Serial number, in hex.
    pub(crate) serial: String,
    /// Host names and addresses.
    pub(crate) hosts: Vec<String>,
    /// Valid from this time on, in seconds since 1970.
    pub(crate) not_before: i64,
    /// Valid until this time, in seconds since 1970.
    pub(crate) not_after: i64,
    /// SHA-256 of the certificate.
    pub(crate) sha256: Sha256,
}

/// Bytes are not a certificate of `oarlock cert`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CertificateError {
    /// Not a certificate.
    #[error("it is not a certificate in X.509 format: {0}")]
    Invalid(String),
    /// It has no URI of ours, or more than one.
    #[error("it has no identity of an Oarlock cluster; create it with `oarlock cert`")]
    NoIdentity,
}

impl CertificateInfo {
    /// Parses a certificate.
    ///
    /// # Errors
    /// The bytes are not a certificate, or it has no identity.
    pub(crate) fn of(der: &[u8]) -> Result<Self, CertificateError> {
        let invalid = |error: &dyn std::fmt::Display| CertificateError::Invalid(error.to_string());
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| invalid(&error))?;
        if !rest.is_empty() {
            return Err(invalid(&"bytes follow it"));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| invalid(&error))?;
        let names = names.map_or(&[][..], |names| names.value.general_names.as_slice());
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(CertificateError::NoIdentity);
        };
        let identity = CertIdentity::from_uri(uri).ok_or(CertificateError::NoIdentity)?;
        let validity = certificate.validity();
        Ok(Self {
            identity,
            serial: hex(certificate.raw_serial()),
            hosts: names.iter().filter_map(host).collect(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            sha256: Sha256::of(der),
        })
    }
}

/// Until when a certificate is valid, in seconds since 1970. It needs no identity.
///
/// # Errors
/// The bytes are not a certificate.
pub(crate) fn not_after(der: &[u8]) -> Result<i64, CertificateError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate.validity().not_after.timestamp())
        .map_err(|error| CertificateError::Invalid(error.to_string()))
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let sixteen = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            four.or(sixteen).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Hex digits, without zeros at the begin that DER adds.
fn hex(bytes: &[u8]) -> String {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
    bytes[start..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
