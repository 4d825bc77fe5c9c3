//! Who a certificate belongs to: a URI in it, `oarlock://CLUSTER/node/ID` or `oarlock://CLUSTER/client/NAME?roles=ROLES`.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::access::RoleSet;

/// Begin of the URI.
const SCHEME: &str = "oarlock://";
/// Begin of the query of a client's URI.
const ROLES: &str = "?roles=";

/// Who a certificate belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertIdentity {
    /// The id of the cluster.
    pub(crate) cluster: String,
    /// Node, client or authority, with its name.
    pub(crate) owner: CertOwner,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertOwner {
    /// It signs the others.
    Authority,
    /// A node with this id.
    Node(String),
    /// A client with this name and these roles.
    Client(String, RoleSet),
}

impl CertIdentity {
    /// Parses the URI. `None`: it is another one.
    pub(crate) fn from_uri(uri: &str) -> Option<Self> {
        let (path, roles) = match uri.split_once(ROLES) {
            Some((path, roles)) => (path, Some(roles)),
            None => (uri, None),
        };
        let mut parts = path.strip_prefix(SCHEME)?.split('/');
        let (cluster, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let (cluster, name) = (decoded(cluster)?, decoded(name)?);
        let owner = match (kind, roles) {
            ("ca", None) if name == "ca" => CertOwner::Authority,
            ("node", None) => CertOwner::Node(name),
            ("client", Some(roles)) => CertOwner::Client(name, roles.parse().ok()?),
            _ => return None,
        };
        Some(Self { cluster, owner })
    }
}

impl fmt::Display for CertIdentity {
    /// The URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = encoded(&self.cluster);
        match &self.owner {
            CertOwner::Authority => write!(f, "{SCHEME}{cluster}/ca/ca"),
            CertOwner::Node(id) => write!(f, "{SCHEME}{cluster}/node/{}", encoded(id)),
            CertOwner::Client(name, roles) => {
                write!(
                    f,
                    "{SCHEME}{cluster}/client/{}{ROLES}{roles}",
                    encoded(name)
                )
            }
        }
    }
}

/// What a segment of a path contains as it is (RFC 3986 §2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name as one segment of a path.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

/// The name of a segment. `None`: it is empty or not valid. Two different segments never have the same name.
fn decoded(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    (!name.is_empty() && encoded(&name) == segment).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_uri() {
        let owners = [
            CertOwner::Authority,
            CertOwner::Node("node1".to_owned()),
            CertOwner::Node("a/b%c?roles=all".to_owned()),
            CertOwner::Client("ann".to_owned(), RoleSet::all()),
            CertOwner::Client("ä b".to_owned(), "reader".parse().expect("a role")),
        ];
        for owner in owners {
            for cluster in ["prod", "a/node/b"] {
                let identity = CertIdentity {
                    cluster: cluster.to_owned(),
                    owner: owner.clone(),
                };
                assert_eq!(
                    CertIdentity::from_uri(&identity.to_string()),
                    Some(identity)
                );
            }
        }
    }

    #[test]
    fn a_uri_that_is_written_in_another_way_is_none() {
        for uri in [
            "",
            "oarlock://",
            "oarlock://c/node/",
            "oarlock:///node/a",
            "oarlock://c/node/a/b",
            "oarlock://c/node/%61",
            "oarlock://c/node/a%2",
            "oarlock://c/node/a?roles=all",
            "oarlock://c/client/a",
            "oarlock://c/client/a?roles=",
            "oarlock://c/client/a?roles=root",
            "oarlock://c/other/a",
            "OARLOCK://c/node/a",
            "https://c/node/a",
            "oarlock://c/node/%ff",
        ] {
            assert_eq!(CertIdentity::from_uri(uri), None, "{uri}");
        }
    }
}
