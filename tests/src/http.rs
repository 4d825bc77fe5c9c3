//! The HTTP client of tests and benchmarks. No request is sent twice, so that a test sees what happened.
//!
//! | module | content |
//! |---|---|
//! | [`connection`] | HTTP/1.1 over one connection, also with several requests in flight |
//! | [`http2`] | HTTP/2 and gRPC over shared connections |

pub mod connection;
pub mod http2;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use connection::{Connection, HttpResponse};

/// Longest time without a response before a test fails. Far above every timeout of the product.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// There is no response, and this is why. The command may have been applied.
#[derive(Debug)]
pub struct NoResponse(String);

impl fmt::Display for NoResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HttpResponse {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// The error's code, where the body is an error of the host.
    ///
    /// # Panics
    /// If it does not have the form that the contract gives to errors.
    pub fn error_code(&self) -> String {
        let json = self.json();
        let error = &json["error"];
        for field in ["code", "message", "hint"] {
            assert!(
                error[field].as_str().is_some_and(|text| !text.is_empty()),
                "no {field}: {json}"
            );
        }
        error["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One address. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub struct Http(pub String);

impl Http {
    /// Sends a request.
    ///
    /// # Errors
    /// No complete response came.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<HttpResponse, NoResponse> {
        let body = body.into();
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.0);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let opaque = ["/v1/apply", "/v1/query", "/v1/state-machine"];
        if !body.is_empty() && !opaque.iter().any(|route| path.starts_with(route)) {
            head += "content-type: application/json\r\n";
        }
        let exchange = self.exchange(&head, body, method == "HEAD");
        let result = tokio::time::timeout(MAX_SILENCE, exchange).await;
        result
            .unwrap_or_else(|_| Err("no response in time".to_owned()))
            .map_err(NoResponse)
    }

    async fn exchange(
        &self,
        head: &str,
        body: Bytes,
        is_head_request: bool,
    ) -> Result<HttpResponse, String> {
        let opened = Connection::open(&self.0).await;
        let mut connection = opened.map_err(|error| error.to_string())?;
        connection.push(head.as_bytes(), &body);
        // A node may refuse a request before it has read all of it; its response is what counts.
        let sent = connection.send().await;
        let received = connection.receive(is_head_request).await;
        received.map_err(|why| match sent {
            Ok(()) => why,
            Err(error) => error.to_string(),
        })
    }

    /// `POST /v1/apply`.
    ///
    /// # Errors
    /// No complete response came.
    pub async fn apply(&self, command: impl Into<Bytes>) -> Result<HttpResponse, NoResponse> {
        self.send("POST", "/v1/apply", &[], command).await
    }

    /// `POST /v1/query`, linearizable.
    ///
    /// # Errors
    /// No complete response came.
    pub async fn query(&self, query: impl Into<Bytes>) -> Result<HttpResponse, NoResponse> {
        self.send("POST", "/v1/query", &[], query).await
    }

    /// `GET`.
    ///
    /// # Errors
    /// No complete response came.
    pub async fn get(&self, path: &str) -> Result<HttpResponse, NoResponse> {
        self.send("GET", path, &[], "").await
    }

    /// `GET /v1/status`, if the node responds with one.
    pub async fn status(&self) -> Option<Value> {
        let response = self.get("/v1/status").await.ok()?;
        (response.status == 200).then(|| response.json())
    }
}
