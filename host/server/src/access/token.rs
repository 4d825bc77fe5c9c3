//! Tokens: a client proves who it is without a certificate of its own. A token is signed with the key of the operator. Nodes
//! know the public key, and store nothing about tokens but the ids of revoked ones.
//!
//! The text is `oarlock1.CLAIMS.SIGNATURE`: the claims are JSON, the signature is Ed25519 over the text before the last dot, and both
//! are in base64 for URLs without padding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oarlock_wasm::GuestCallerError;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::caller::Principal;
use super::role::{AccessRole, RoleSet};

/// Begin of a token, with the version of its format.
const PREFIX: &str = "oarlock1";
/// Longest token, in bytes.
const MAX_BYTES: usize = 4096;
/// Length of a public key, in bytes.
const PUBLIC_BYTES: usize = 32;

/// What a token contains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenClaims {
    /// The cluster.
    pub(crate) cluster: String,
    /// Its id, in hex, by which it is revoked.
    pub(crate) id: String,
    /// The name of the client.
    pub(crate) name: String,
    /// What the client may do, as in the URI of a certificate.
    pub(crate) roles: String,
    /// Values of each scope, which the guest enforces. A token without them is not limited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) scopes: BTreeMap<String, BTreeSet<String>>,
    /// Valid until this time, in seconds since 1970.
    pub(crate) expires: i64,
}

/// A token that is signed, not revoked, and of this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedToken {
    /// Its owner.
    pub(crate) principal: Arc<Principal>,
    /// Valid until this time, in seconds since 1970.
    pub(crate) expires: i64,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    /// It does not have the form of a token.
    #[error("it does not have the form of a token")]
    Malformed,
    /// No key of this cluster has signed it, or it was changed.
    #[error("no key that this node knows has signed it")]
    Signature,
    /// It is of another cluster.
    #[error("it is of the cluster {0:?}")]
    OtherCluster(String),
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
}

impl TokenClaims {
    /// What a token contains, without a check of its signature.
    ///
    /// # Errors
    /// It does not have the form of a token.
    pub(crate) fn unchecked(token: &str) -> Result<Self, TokenError> {
        let (signed, _) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let claims = claims_of(signed)?;
        serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed)
    }
}

/// The claims in the signed part of a token, as JSON.
fn claims_of(signed: &str) -> Result<Vec<u8>, TokenError> {
    let claims = signed
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_prefix('.'))
        .ok_or(TokenError::Malformed)?;
    decoded(claims)
}

fn decoded(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenError::Malformed)
}

/// A key that signs tokens is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the key for tokens is not valid: {0}; restore the file, or create a new key with `oarlock token key --rotate`"
)]
pub(crate) struct TokenKeyError(String);

/// A token can't be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TokenIssueError {
    /// Its roles do more than send commands and queries.
    #[error(
        "scopes limit commands and queries only, and the role {0} does more; leave the role or the scopes out"
    )]
    Unlimited(AccessRole),
    /// The scopes are too long.
    #[error(transparent)]
    Scopes(#[from] GuestCallerError),
    /// The text would be too long.
    #[error(
        "the token would have {bytes} bytes, but {MAX_BYTES} are allowed; use fewer or shorter values of scopes"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// The key that signs tokens.
pub(crate) struct TokenSigner(Ed25519KeyPair);

impl TokenSigner {
    /// A new key, in PKCS#8.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub(crate) fn generate() -> Result<Vec<u8>, TokenKeyError> {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let key = key.map_err(|_| TokenKeyError("no random numbers".to_owned()))?;
        Ok(key.as_ref().to_vec())
    }

    /// The key in PKCS#8.
    ///
    /// # Errors
    /// The bytes are not a key.
    pub(crate) fn from_pkcs8(bytes: &[u8]) -> Result<Self, TokenKeyError> {
        Ed25519KeyPair::from_pkcs8(bytes)
            .map(Self)
            .map_err(|error| TokenKeyError(error.to_string()))
    }

    /// The public key, as text.
    pub(crate) fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// A new id of a token.
    ///
    /// # Errors
    /// The operating system gives no random numbers.
    pub(crate) fn new_id() -> Result<String, TokenKeyError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| TokenKeyError(error.to_string()))?;
        // Not zero, so that it has the same text as in the file of revoked ids.
        id[0] |= 0x10;
        Ok(format!("{:032x}", u128::from_be_bytes(id)))
    }

    /// The text of a token that nodes accept.
    ///
    /// # Errors
    /// See [`TokenIssueError`].
    pub(crate) fn issue(
        &self,
        claims: &TokenClaims,
        roles: RoleSet,
    ) -> Result<String, TokenIssueError> {
        Principal::new(claims.name.clone(), roles, claims.scopes.clone())?;
        let unlimited = [AccessRole::Operator, AccessRole::Upgrader];
        let unlimited = unlimited.into_iter().find(|role| roles.contains(*role));
        if let Some(role) = unlimited.filter(|_| !claims.scopes.is_empty()) {
            return Err(TokenIssueError::Unlimited(role));
        }
        let token = self.sign(claims);
        let bytes = token.len();
        if bytes > MAX_BYTES {
            return Err(TokenIssueError::TooLong { bytes });
        }
        Ok(token)
    }

    /// The text of a token.
    pub(crate) fn sign(&self, claims: &TokenClaims) -> String {
        // Serializing texts and a number can't fail.
        self.sign_text(&serde_json::to_vec(claims).unwrap_or_default())
    }

    /// The text of a token with these claims, as JSON.
    pub(crate) fn sign_text(&self, claims: &[u8]) -> String {
        let signed = format!("{PREFIX}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The public keys by which a node checks tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenKeys(Vec<[u8; PUBLIC_BYTES]>);

impl TokenKeys {
    /// Parses a file: one key on each line.
    ///
    /// # Errors
    /// A line is not a key.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenKeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let key = |line: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(line).ok()?;
            bytes.try_into().ok()
        };
        lines
            .map(|line| key(line).ok_or_else(|| TokenKeyError(format!("{line:?} is none"))))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The keys, each as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|key| URL_SAFE_NO_PAD.encode(key))
            .collect()
    }

    /// Checks a token. `now` in seconds since 1970.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub(crate) fn check(
        &self,
        token: &str,
        cluster: &str,
        revoked: &BTreeSet<String>,
        now: i64,
    ) -> Result<CheckedToken, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let claims = claims_of(signed)?;
        let signature = decoded(signature)?;
        let is_signed = self.0.iter().any(|key| {
            UnparsedPublicKey::new(&ED25519, key)
                .verify(signed.as_bytes(), &signature)
                .is_ok()
        });
        if !is_signed {
            return Err(TokenError::Signature);
        }
        let claims: TokenClaims =
            serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed)?;
        let roles: RoleSet = claims.roles.parse().map_err(|_| TokenError::Malformed)?;
        if claims.cluster != cluster {
            return Err(TokenError::OtherCluster(claims.cluster));
        }
        if now >= claims.expires {
            return Err(TokenError::Expired);
        }
        if revoked.contains(&claims.id) {
            return Err(TokenError::Revoked);
        }
        let principal =
            Principal::new(claims.name, roles, claims.scopes).map_err(|_| TokenError::Malformed)?;
        Ok(CheckedToken {
            principal: Arc::new(principal),
            expires: claims.expires,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn signer() -> TokenSigner {
        let key = TokenSigner::generate().expect("random numbers");
        TokenSigner::from_pkcs8(&key).expect("a key")
    }

    fn claims() -> TokenClaims {
        TokenClaims {
            cluster: "prod".to_owned(),
            id: "1234".to_owned(),
            name: "ann".to_owned(),
            roles: "reader,writer".to_owned(),
            scopes: BTreeMap::from([("queues".to_owned(), BTreeSet::from(["a".to_owned()]))]),
            expires: NOW + 1,
        }
    }

    fn check(signer: &TokenSigner, token: &str, now: i64) -> Result<CheckedToken, TokenError> {
        let keys = TokenKeys::parse(&signer.public()).expect("a key");
        keys.check(token, "prod", &BTreeSet::from(["dead".to_owned()]), now)
    }

    #[test]
    fn a_token_proves_name_and_roles_until_it_expires() {
        let signer = signer();
        let token = signer.sign(&claims());
        let CheckedToken { principal, expires } = check(&signer, &token, NOW).expect("it is valid");
        let scopes = BTreeMap::from([("queues".to_owned(), BTreeSet::from(["a".to_owned()]))]);
        let same = Principal::new("ann".to_owned(), principal.roles, scopes);
        assert_eq!(same.as_ref(), Ok(&*principal));
        assert_eq!(expires, NOW + 1);
        assert_eq!(principal.name(), "ann");
        assert_eq!(principal.roles.to_string(), "reader,writer");
        assert_eq!(check(&signer, &token, NOW + 1), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_with_any_flipped_bit_is_refused() {
        let signer = signer();
        let token = signer.sign(&claims());
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else {
                    continue;
                };
                let checked = check(&signer, &changed, NOW);
                assert!(checked.is_err(), "byte {at}, bit {bit}: {checked:?}");
            }
        }
    }

    #[test]
    fn tokens_of_other_keys_and_clusters_and_revoked_ones_are_refused() {
        let (own, other) = (signer(), signer());
        let token = other.sign(&claims());
        assert_eq!(check(&own, &token, NOW), Err(TokenError::Signature));
        let elsewhere = TokenClaims {
            cluster: "test".to_owned(),
            ..claims()
        };
        let token = own.sign(&elsewhere);
        assert_eq!(
            check(&own, &token, NOW),
            Err(TokenError::OtherCluster("test".to_owned()))
        );
        let revoked = TokenClaims {
            id: "dead".to_owned(),
            ..claims()
        };
        assert_eq!(
            check(&own, &own.sign(&revoked), NOW),
            Err(TokenError::Revoked)
        );
        let odd = TokenClaims {
            roles: "root".to_owned(),
            ..claims()
        };
        assert_eq!(
            check(&own, &own.sign(&odd), NOW),
            Err(TokenError::Malformed)
        );
        for text in [
            "",
            ".",
            "oarlock1",
            "oarlock1.",
            "oarlock1..",
            "oarlock2.a.b",
            &"a".repeat(9000),
        ] {
            assert!(check(&own, text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn during_a_rotation_tokens_of_both_keys_are_accepted() {
        let (first, second) = (signer(), signer());
        let keys = format!("{}\n{}\n", first.public(), second.public());
        let keys = TokenKeys::parse(&keys).expect("two keys");
        for signer in [&first, &second] {
            let checked = keys.check(&signer.sign(&claims()), "prod", &BTreeSet::new(), NOW);
            assert!(checked.is_ok());
        }
        assert!(TokenKeys::parse("no key").is_err());
        let none = TokenKeys::parse("").expect("an empty file");
        let checked = none.check(&first.sign(&claims()), "prod", &BTreeSet::new(), NOW);
        assert_eq!(checked, Err(TokenError::Signature));
    }

    #[test]
    fn a_token_without_scopes_has_the_bytes_of_before() {
        let plain = TokenClaims {
            scopes: BTreeMap::new(),
            ..claims()
        };
        let json = serde_json::to_string(&plain).expect("JSON");
        assert!(!json.contains("scopes"), "{json}");
        let read: TokenClaims = serde_json::from_str(&json).expect("claims");
        assert_eq!(read, plain);
    }

    #[test]
    fn scopes_are_refused_where_they_can_not_be_enforced_or_do_not_fit() {
        let signer = signer();
        let roles = |roles: &str| roles.parse().expect("roles");
        let issued = signer.issue(&claims(), roles("reader,writer"));
        assert!(check(&signer, &issued.expect("it fits"), NOW).is_ok());
        for (set, role) in [
            ("operator", AccessRole::Operator),
            ("reader,upgrader", AccessRole::Upgrader),
        ] {
            let refused = signer.issue(&claims(), roles(set));
            assert_eq!(refused, Err(TokenIssueError::Unlimited(role)));
            let plain = TokenClaims {
                scopes: BTreeMap::new(),
                ..claims()
            };
            assert!(signer.issue(&plain, roles(set)).is_ok());
        }
        let with = |values: BTreeSet<String>| TokenClaims {
            scopes: BTreeMap::from([("queues".to_owned(), values)]),
            ..claims()
        };
        let refused = signer.issue(&with(BTreeSet::from([String::new()])), roles("reader"));
        assert!(matches!(refused, Err(TokenIssueError::Scopes(_))));
        let many = with((0..500).map(|n| format!("{n:04}")).collect());
        let refused = signer.issue(&many, roles("reader"));
        assert!(matches!(refused, Err(TokenIssueError::TooLong { .. })));
    }
}
