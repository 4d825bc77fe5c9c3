//! What clients send to the binary: the begin of a connection, and tokens.

use std::collections::{BTreeMap, BTreeSet};

use oarlock_tests::fuzz::FuzzTarget;

use crate::server::parse_requests;
use crate::server::token::{TokenClaims, TokenKeys, TokenSigner};

/// The fast path of HTTP/1.1.
pub(super) struct Http;

impl FuzzTarget for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let apply = "POST /v1/apply HTTP/1.1\r\nHost: localhost:8101\r\nIdempotency-Key: k\r\nOarlock-Timeout-Ms: 10\r\nContent-Length: 3\r\n\r\nabc";
        let query = "POST /v1/query?consistency=stale HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nq";
        let waits = "POST /v1/query?wait_index=18446744073709551615&consistency=linearizable HTTP/1.1\r\ncontent-length: 1\r\n\r\nq";
        let last = "POST /v1/apply HTTP/1.1\r\nauthorization: Bearer a.b.c\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
        let chunked =
            "POST /v1/apply HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let others = [
            "GET /v1/status HTTP/1.1\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        let mut seeds = vec![
            [apply, query, last].concat(),
            apply.to_owned(),
            query.to_owned(),
            waits.to_owned(),
            last.to_owned(),
            chunked.to_owned(),
        ];
        seeds.extend(others.map(str::to_owned));
        seeds.into_iter().map(String::into_bytes).collect()
    }

    fn run(&mut self, input: &[u8]) -> String {
        parse_requests(input)
    }
}

/// Tokens of clients.
pub(super) struct Token {
    signer: TokenSigner,
    keys: TokenKeys,
}

impl Token {
    pub(super) fn new() -> Self {
        // Another key in each run: no input depends on it.
        let key = TokenSigner::generate().expect("random numbers");
        let signer = TokenSigner::from_pkcs8(&key).expect("a key");
        let keys = TokenKeys::parse(&signer.public()).expect("its public key");
        Self { signer, keys }
    }
}

impl FuzzTarget for Token {
    fn name(&self) -> &'static str {
        "token"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        let claims = TokenClaims {
            cluster: "prod".to_owned(),
            id: "1234".to_owned(),
            name: "ann".to_owned(),
            roles: "reader,writer".to_owned(),
            scopes: BTreeMap::from([("queues".to_owned(), BTreeSet::from(["email".to_owned()]))]),
            expires: 2,
        };
        let odd = TokenClaims {
            roles: "all".to_owned(),
            scopes: BTreeMap::new(),
            ..claims.clone()
        };
        let forged = |claims| {
            let token = self.signer.sign(claims);
            let signed = token.rsplit_once('.').expect("a signature").0;
            format!("{signed}.{}", "A".repeat(86)).into_bytes()
        };
        // An input that begins with a brace is signed: so mutations of claims get behind the signature.
        let json = |claims| serde_json::to_vec(claims).expect("texts and a number");
        vec![forged(&claims), forged(&odd), json(&claims), json(&odd)]
    }

    fn run(&mut self, input: &[u8]) -> String {
        let revoked = BTreeSet::from(["dead".to_owned()]);
        let check = |token: &str| format!("{:?}", self.keys.check(token, "prod", &revoked, 1));
        if input.starts_with(b"{") {
            return check(&self.signer.sign_text(input));
        }
        let text = String::from_utf8_lossy(input);
        let unchecked = TokenClaims::unchecked(&text);
        let checked = self.keys.check(&text, "prod", &revoked, 1);
        assert!(
            checked.is_err(),
            "a token without a signature is accepted: {checked:?}"
        );
        format!("{} {checked:?}", unchecked.is_ok())
    }
}
