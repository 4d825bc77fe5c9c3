//! A plain HTTP client for tests: one connection for each request, no retries, so that a test sees what happened.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Longest that a request may hang before the test gives it up. Far above every timeout of the product.
const HANGS: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

/// Why there is no answer. The command may have been carried out.
#[derive(Debug)]
pub struct Unanswered(String);

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it isn't any.
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
    /// If it isn't in the form that the contract gives to errors.
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

/// One address to ask.
#[derive(Clone, Debug)]
pub struct Http(pub String);

impl Http {
    /// Sends a request.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Unanswered> {
        let exchange = self.exchange(method, path, headers, body.into());
        tokio::time::timeout(HANGS, exchange)
            .await
            .map_err(|_| Unanswered("it hangs".to_owned()))?
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Unanswered> {
        let failed = |error: &dyn fmt::Display| Unanswered(error.to_string());
        let stream = TcpStream::connect(&self.0)
            .await
            .map_err(|error| failed(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.0);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| failed(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        let (parts, body): (_, hyper::body::Incoming) = Response::into_parts(response);
        let body = body
            .collect()
            .await
            .map_err(|error| failed(&error))?
            .to_bytes();
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        });
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body,
        })
    }

    /// `POST /v1/apply`.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn apply(&self, command: impl Into<Bytes>) -> Result<Answer, Unanswered> {
        self.send("POST", "/v1/apply", &[], command).await
    }

    /// `POST /v1/query`, linearizable.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn query(&self, query: impl Into<Bytes>) -> Result<Answer, Unanswered> {
        self.send("POST", "/v1/query", &[], query).await
    }

    /// `GET`.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn get(&self, path: &str) -> Result<Answer, Unanswered> {
        self.send("GET", path, &[], "").await
    }

    /// `GET /v1/status`, if the node answers.
    pub async fn status(&self) -> Option<Value> {
        let answer = self.get("/v1/status").await.ok()?;
        (answer.status == 200).then(|| answer.json())
    }
}
