//! A cluster of real processes that uses TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oarlock_client::{AccessToken, Client, ClientOptions, Endpoint, TlsOptions};

use super::{Cluster, Node, run};

/// Runs `oarlock` to its end, which must be a success, and returns what it prints.
pub fn succeed(args: &[&str]) -> String {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `oarlock` to its end, which must have this exit code, and returns what it prints about the error.
pub fn fail(args: &[&str], code: i32) -> String {
    let output = run(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    error
}

/// `oarlock cert`, with the authority in a directory.
pub fn cert(certs: &Path, args: &[&str]) -> String {
    let certs = certs.to_str().expect("text");
    succeed(&[&["cert"][..], args, &["--ca-dir", certs]].concat())
}

/// Three nodes with certificates.
pub struct SecuredCluster {
    /// The nodes.
    pub cluster: Cluster,
    /// The directory of the authority, in which the directories of nodes and clients are.
    pub certs: PathBuf,
}

impl SecuredCluster {
    /// Prepares nodes with the key-value store.
    pub fn prepare() -> Self {
        Self::prepare_with("kv")
    }

    /// Prepares nodes with this guest, and a client `ann` with all roles.
    pub fn prepare_with(guest: &str) -> Self {
        let mut cluster = Cluster::prepare(3, guest, &[]);
        let certs = cluster.dir().join("certs");
        cert(&certs, &["ca", "--cluster-id", "prod"]);
        cert(&certs, &["node", "node1", "node2", "node3"]);
        cert(&certs, &["client", "ann", "--roles", "all"]);
        for node in &mut cluster.nodes {
            let dir = certs.join(node.id());
            let dir = dir.to_str().expect("text").to_owned();
            node.options_mut()
                .args
                .extend(["--certs-dir".to_owned(), dir]);
        }
        Self { cluster, certs }
    }

    /// Starts nodes with the key-value store.
    pub fn start() -> Self {
        let mut secured = Self::prepare();
        secured.cluster.nodes.iter_mut().for_each(Node::start);
        secured
    }

    /// The addresses of all nodes, with commas.
    pub fn endpoints(&self) -> String {
        let addresses = self.cluster.nodes.iter().map(|node| node.http().0);
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The path of a file or a folder of the authority.
    pub fn path(&self, name: &str) -> String {
        self.certs.join(name).to_str().expect("text").to_owned()
    }

    /// The directories of all nodes.
    pub fn node_dirs(&self) -> [String; 3] {
        ["node1", "node2", "node3"].map(|id| self.path(id))
    }

    /// A client with the certificate in a directory.
    pub fn client(&self, name: &str) -> Client {
        let tls = TlsOptions::from_dir(self.certs.join(name)).expect("certificates");
        self.client_with(tls, None)
    }

    /// A client without a certificate, which sends a token.
    pub fn token_client(&self, token: &str) -> Client {
        let tls = TlsOptions::from_ca(self.certs.join("ca.crt")).expect("an authority");
        self.client_with(tls, Some(AccessToken::new(token).expect("a token")))
    }

    fn client_with(&self, tls: TlsOptions, token: Option<AccessToken>) -> Client {
        let endpoints = Endpoint::parse_list(&self.endpoints()).expect("endpoints");
        let options = ClientOptions {
            tls: Some(tls),
            token,
            timeout: Duration::from_secs(30),
            ..ClientOptions::default()
        };
        Client::with_options(endpoints, options).expect("a client")
    }

    /// `oarlock token`, with the key of the authority.
    pub fn token(&self, args: &[&str]) -> String {
        let certs = self.certs.to_str().expect("text");
        succeed(&[&["token"][..], args, &["--ca-dir", certs]].concat())
    }

    /// Writes a token to a file, and returns its path.
    pub fn token_file(&self, name: &str, token: &str) -> String {
        let path = self.certs.join(name);
        fs::write(&path, token).expect("writable");
        path.to_str().expect("text").to_owned()
    }
}
