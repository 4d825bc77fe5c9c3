//! A node whose queue responds as a test prescribes, over real sockets.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::queue::Queue;
use crate::{Client, ClientOptions, Endpoint};

const SCHEMA: &str = r#"{"properties":{"command":{"properties":{"reserve":{},"release":{},"wait_for":{},"redrive":{}}}}}"#;

/// How the queue responds to a command.
pub(super) enum Step {
    Reply(Value),
    Refuse(&'static str),
    /// Closes the connection.
    Close,
    /// Responds once the number of received commands is this one.
    After(usize, Value),
}

/// A command that the queue received.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Received {
    pub(super) name: String,
    pub(super) arguments: Value,
    pub(super) key: String,
}

type Script = Arc<dyn Fn(&Received, usize) -> Step + Send + Sync>;

/// The queue. Its script gets each command, and how many of this name there were before.
pub(super) struct FakeQueue {
    endpoint: Endpoint,
    received: Arc<Mutex<Vec<Received>>>,
    count: watch::Sender<usize>,
}

impl FakeQueue {
    pub(super) async fn start(
        script: impl Fn(&Received, usize) -> Step + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        let queue = Self {
            endpoint,
            received: Arc::default(),
            count: watch::Sender::new(0),
        };
        let script: Script = Arc::new(script);
        let (received, count) = (Arc::clone(&queue.received), queue.count.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, received, count) =
                    (Arc::clone(&script), Arc::clone(&received), count.clone());
                let service = service_fn(move |request| {
                    respond(
                        request,
                        Arc::clone(&script),
                        Arc::clone(&received),
                        count.clone(),
                    )
                });
                tokio::spawn(async move {
                    // `Step::Close` ends the connection with an error.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        queue
    }

    /// A handle of the queue `email`.
    pub(super) fn queue(&self) -> Queue {
        let options = ClientOptions {
            follow_leader: false,
            ..ClientOptions::default()
        };
        let client = Client::with_options([self.endpoint.clone()], options).unwrap();
        Queue::new(client, "email")
    }

    /// The names of the commands so far, without reserves.
    pub(super) fn names(&self) -> Vec<String> {
        let all = self.all();
        let names = all.into_iter().map(|received| received.name);
        names.filter(|name| name != "reserve").collect()
    }

    /// All commands so far.
    pub(super) fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits until a command of this name was received.
    pub(super) async fn receives(&self, name: &str) {
        let mut count = self.count.subscribe();
        while !self.all().iter().any(|received| received.name == name) {
            count.changed().await.unwrap();
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    script: Script,
    received: Arc<Mutex<Vec<Received>>>,
    count: watch::Sender<usize>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/v1/schema" {
        return Ok(Response::new(Full::new(SCHEMA.into())));
    }
    let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let (name, arguments) = body.as_object().unwrap().iter().next().unwrap();
    let command = Received {
        name: name.clone(),
        arguments: arguments.clone(),
        key: head.headers["idempotency-key"].to_str().unwrap().to_owned(),
    };
    let before = {
        let mut received = received.lock().unwrap();
        let before = received.iter().filter(|seen| seen.name == *name).count();
        received.push(command.clone());
        before
    };
    count.send_modify(|count| *count += 1);
    let (status, reply) = match script(&command, before) {
        Step::Reply(reply) => (200, reply),
        Step::Refuse(code) => (
            422,
            json!({"error": {"code": code, "message": "as scripted"}}),
        ),
        Step::Close => return Err(std::io::Error::other("closed on purpose")),
        Step::After(number, reply) => {
            let mut count = count.subscribe();
            count.wait_for(|count| *count >= number).await.unwrap();
            (200, reply)
        }
    };
    let mut response = Response::builder()
        .status(status)
        .body(Full::new(reply.to_string().into()))
        .unwrap();
    response.headers_mut().insert("oarlock-index", 7.into());
    Ok(response)
}

/// Never reached by a test: a reserve that waits for it has no response.
pub(super) const NEVER: usize = usize::MAX;

/// The reply with these tasks.
pub(super) fn tasks(ids: impl IntoIterator<Item = u64>) -> Value {
    let task = |id| {
        json!({"id": id, "queue": "email", "payload": {"n": id}, "attempt": 1, "token": format!("{id}-t"),
               "lease_until_ms": 1})
    };
    json!({"tasks": ids.into_iter().map(task).collect::<Vec<_>>()})
}
