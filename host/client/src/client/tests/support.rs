//! A scripted node: it responds as a test prescribes, over real sockets.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket};

use crate::{Client, ClientOptions, Endpoint};

/// How the node handles a request.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// Responds with a status, a body and `Oarlock-Index: 7`.
    Respond(u16, &'static str),
    /// Responds with a status and a body, without an index.
    WithoutIndex(u16, &'static str),
    /// Responds with a status, a body and `Retry-After`, in seconds.
    RetryAfter(u16, &'static str, u64),
    /// Responds to `GET /v1/status` with this body, and to other requests with `done`.
    WithStatus(&'static str),
    /// Reads the request, then closes the connection.
    Close,
    /// Reads the request and never responds.
    Silence,
}

/// A request that the node received.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) http2: bool,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A node with a script: each request takes the next turn, and the last turn repeats.
pub(crate) struct ScriptedNode {
    pub(crate) endpoint: Endpoint,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl ScriptedNode {
    pub(crate) async fn start(turns: impl IntoIterator<Item = Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap());
        let turns: Arc<Mutex<VecDeque<Turn>>> = Arc::new(Mutex::new(turns.into_iter().collect()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let for_accept = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (turns, seen) = (Arc::clone(&turns), Arc::clone(&for_accept));
                let service = service_fn(move |request| {
                    take_turn(request, Arc::clone(&turns), Arc::clone(&seen))
                });
                tokio::spawn(async move {
                    // `Turn::Close` ends the connection with an error.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { endpoint, seen }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn take_turn(
    request: Request<Incoming>,
    turns: Arc<Mutex<VecDeque<Turn>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    let line = format!("{} {}", head.method, head.uri.path_and_query().unwrap());
    let http2 = head.version == hyper::Version::HTTP_2;
    let body = body.collect().await.unwrap().to_bytes();
    seen.lock().unwrap().push(Seen {
        line: line.clone(),
        headers: head.headers,
        body,
        http2,
    });
    let asks_for_status = line == "GET /v1/status";
    let turn = {
        let mut turns = turns.lock().unwrap();
        if turns.len() > 1 {
            turns.pop_front().unwrap()
        } else {
            turns[0].clone()
        }
    };
    let response = |status, body: &'static str| {
        Response::builder()
            .status(status)
            .body(Full::new(body.into()))
            .unwrap()
    };
    match turn {
        Turn::Respond(status, body) => {
            let mut response = response(status, body);
            response.headers_mut().insert("oarlock-index", 7.into());
            Ok(response)
        }
        Turn::WithoutIndex(status, body) => Ok(response(status, body)),
        Turn::WithStatus(status) if asks_for_status => Ok(response(200, status)),
        Turn::WithStatus(_) => {
            let mut response = response(200, "done");
            response.headers_mut().insert("oarlock-index", 7.into());
            Ok(response)
        }
        Turn::RetryAfter(status, body, seconds) => {
            let mut response = response(status, body);
            response.headers_mut().insert("retry-after", seconds.into());
            Ok(response)
        }
        Turn::Close => Err(std::io::Error::other("closed on purpose")),
        Turn::Silence => Ok(std::future::pending::<Result<_, Infallible>>()
            .await
            .unwrap_or_else(|never| match never {})),
    }
}

/// An address that refuses connections while the socket exists: the socket is bound and does not listen.
pub(crate) fn unreachable_node() -> (TcpSocket, Endpoint) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = endpoint(socket.local_addr().unwrap());
    (socket, endpoint)
}

fn endpoint(address: SocketAddr) -> Endpoint {
    address.to_string().parse().unwrap()
}

/// A client that sends nothing of itself, so that a script is complete.
pub(crate) fn client(endpoints: &[&Endpoint]) -> Client {
    client_with(
        endpoints,
        ClientOptions {
            follow_leader: false,
            ..ClientOptions::default()
        },
    )
}

pub(crate) fn client_with(endpoints: &[&Endpoint], options: ClientOptions) -> Client {
    Client::with_options(
        endpoints.iter().map(|endpoint| (*endpoint).clone()),
        options,
    )
    .unwrap()
}

pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) const NO_LEADER: Turn = Turn::Respond(
    503,
    r#"{"error":{"code":"no_leader","message":"no leader was found","hint":"try again"}}"#,
);
