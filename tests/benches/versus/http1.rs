//! A client of the plainest kind: HTTP/1.1 with keep-alive, one request under way on its connection.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::load::Client;

/// Longest answer that is taken, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Makes the body of a request from its number.
pub(crate) type MakeBody = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// See the module.
pub(crate) struct Http1 {
    stream: TcpStream,
    /// Of every request, up to the length of its body.
    head: Vec<u8>,
    body: MakeBody,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Http1 {
    /// Connects, for requests to `path`.
    ///
    /// # Errors
    /// Where nobody listens.
    pub(crate) async fn open(address: &str, path: &str, body: MakeBody) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let head = format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: ");
        Ok(Self {
            stream,
            head: head.into_bytes(),
            body,
            out: Vec::new(),
            answer: Vec::new(),
        })
    }

    async fn read(&mut self) -> Result<u16, String> {
        self.answer.clear();
        loop {
            if let Some(Head { status, length }) = head_of(&self.answer)? {
                if self.answer.len() >= length {
                    return Ok(status);
                }
                if length > MAX_ANSWER {
                    return Err("an answer is too long".to_owned());
                }
            }
            let read = self.stream.read_buf(&mut self.answer).await;
            if read.map_err(|error| error.to_string())? == 0 {
                return Err("the connection was closed".to_owned());
            }
        }
    }
}

impl Http1 {
    fn put_request(&mut self, number: u64) {
        let body = (self.body)(number);
        self.out.extend_from_slice(&self.head);
        self.out
            .extend_from_slice(body.len().to_string().as_bytes());
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(&body);
    }
}

/// A connection on which requests are sent before those before them are answered (RFC 9112 §9.3.2).
pub(crate) struct Pipeline {
    connection: Http1,
    depth: usize,
}

impl Pipeline {
    /// At most `depth` requests are under way.
    pub(crate) fn new(connection: Http1, depth: usize) -> Self {
        Self { connection, depth }
    }

    /// How many may be under way.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Has a request sent with the next exchange.
    pub(crate) fn push(&mut self, number: u64) {
        self.connection.put_request(number);
    }

    /// Sends what was pushed, waits for answers, and returns how many came.
    ///
    /// # Errors
    /// The connection broke, or an answer is none of success.
    pub(crate) async fn exchange(&mut self) -> Result<usize, String> {
        let Http1 {
            stream,
            out,
            answer,
            ..
        } = &mut self.connection;
        let written = stream.write_all(out).await;
        written.map_err(|error| error.to_string())?;
        out.clear();
        loop {
            let read = stream.read_buf(answer).await;
            if read.map_err(|error| error.to_string())? == 0 {
                return Err("the connection was closed".to_owned());
            }
            let (mut answers, mut at) = (0, 0);
            while let Some(head) = head_of(&answer[at..])? {
                if head.length > answer.len() - at {
                    break;
                }
                if head.status != 200 {
                    return Err(format!("HTTP {}", head.status));
                }
                at += head.length;
                answers += 1;
            }
            answer.drain(..at);
            if answers > 0 {
                return Ok(answers);
            }
        }
    }
}

impl Client for Http1 {
    async fn exchange(&mut self, number: u64) -> Result<(), String> {
        self.out.clear();
        self.put_request(number);
        let written = self.stream.write_all(&self.out).await;
        written.map_err(|error| error.to_string())?;
        match self.read().await? {
            200 => Ok(()),
            status => {
                let body = String::from_utf8_lossy(&self.answer);
                let body = body.rsplit("\r\n\r\n").next().unwrap_or_default();
                Err(format!(
                    "HTTP {status} {}",
                    body.chars().take(200).collect::<String>()
                ))
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Of head and body together.
    length: usize,
}

/// The head of an answer, once all of it is there.
fn head_of(bytes: &[u8]) -> Result<Option<Head>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    match (status, length) {
        (Some(status), Some(length)) => Ok(Some(Head {
            status,
            length: end + 4 + length,
        })),
        _ => Err(format!("an answer without status or length: {head:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(
            head_of(whole),
            Ok(Some(Head {
                status: 200,
                length: whole.len()
            }))
        );
        assert_eq!(head_of(&whole[..30]), Ok(None), "the head is not all there");
        assert!(head_of(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
