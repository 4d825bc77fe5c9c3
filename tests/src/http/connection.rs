//! HTTP/1.1 with keep-alive over one connection, written by hand: a request may be sent before the responses to those
//! before it have arrived (RFC 9112 §9.3.2), which hyper's client does not do, and it costs little processor time.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest response, in bytes.
const MAX_RESPONSE_BYTES: usize = 256 << 20;
/// Most headers of a response.
const MAX_HEADERS: usize = 64;

/// One connection.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: S,
    output: Vec<u8>,
    input: Vec<u8>,
}

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Length of the head, in bytes.
    length: usize,
    body: BodyLength,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLength {
    Known(usize),
    Chunked,
    /// Until the connection is closed.
    Rest,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The system's error.
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Whether the other end has closed the connection, as far as the system knows. Call it while no response is due.
    pub fn is_closed(&self) -> bool {
        let waits = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        !self.stream.try_read(&mut [0]).is_err_and(waits)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over what is connected already.
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            output: Vec::new(),
            input: Vec::new(),
        }
    }

    /// Prepares a request, which the next [`Connection::send`] sends. `head` is everything before the length of the
    /// body: request line and headers, each with its line end.
    pub fn push(&mut self, head: &[u8], body: &[u8]) {
        self.output.extend_from_slice(head);
        self.output.extend_from_slice(b"content-length: ");
        self.output
            .extend_from_slice(body.len().to_string().as_bytes());
        self.output.extend_from_slice(b"\r\n\r\n");
        self.output.extend_from_slice(body);
    }

    /// Sends what was prepared.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.stream.flush().await?;
        self.output.clear();
        Ok(())
    }

    /// Waits until at least one response has arrived, and takes all that have: how many in a row have status 200, and
    /// then the first other one.
    ///
    /// # Errors
    /// The connection broke, or sent what is no response of known length.
    pub async fn receive_many(&mut self) -> Result<(usize, Option<HttpResponse>), String> {
        let mut succeeded = 0;
        let mut at = 0;
        loop {
            while let Some(head) = head_of(&self.input[at..])? {
                let BodyLength::Known(length) = head.body else {
                    return Err("a response has no length".to_owned());
                };
                let all = head.length + length;
                if self.input.len() - at < all {
                    break;
                }
                if head.status != 200 {
                    if succeeded > 0 {
                        // It is the first one of the next call.
                        break;
                    }
                    let body = self.input[at + head.length..at + all].to_vec().into();
                    let headers = headers_of(&self.input[at..at + head.length])?;
                    self.input.drain(..at + all);
                    let response = HttpResponse {
                        status: head.status,
                        headers,
                        body,
                    };
                    return Ok((0, Some(response)));
                }
                at += all;
                succeeded += 1;
            }
            if succeeded > 0 {
                self.input.drain(..at);
                return Ok((succeeded, None));
            }
            if self.read().await? == 0 {
                return Err("the connection was closed".to_owned());
            }
        }
    }

    /// Waits for the next response.
    ///
    /// # Errors
    /// The connection broke, or sent what is no response.
    pub async fn receive(&mut self, is_head_request: bool) -> Result<HttpResponse, String> {
        let head = loop {
            match head_of(&self.input)? {
                // An interim response comes before the response.
                Some(head) if head.status < 200 => drop(self.input.drain(..head.length)),
                Some(head) => break head,
                None if self.read().await? == 0 => {
                    return Err("the connection was closed before a response".to_owned());
                }
                None => {}
            }
        };
        let headers = headers_of(&self.input[..head.length])?;
        self.input.drain(..head.length);
        let body = match head.body {
            _ if is_head_request || head.status == 204 || head.status == 304 => Bytes::new(),
            BodyLength::Known(length) => self.take(length).await?,
            BodyLength::Chunked => self.chunks().await?,
            BodyLength::Rest => {
                while self.read().await? > 0 {}
                std::mem::take(&mut self.input).into()
            }
        };
        Ok(HttpResponse {
            status: head.status,
            headers,
            body,
        })
    }

    /// Reads more; 0 at the end.
    async fn read(&mut self) -> Result<usize, String> {
        if self.input.len() > MAX_RESPONSE_BYTES {
            return Err("a response is too long".to_owned());
        }
        let read = self.stream.read_buf(&mut self.input).await;
        read.map_err(|error| error.to_string())
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, String> {
        while self.input.len() < length {
            if self.read().await? == 0 {
                return Err("the connection was closed within a body".to_owned());
            }
        }
        Ok(self.input.drain(..length).collect::<Vec<u8>>().into())
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(|error| error.to_string());
            }
            if self.read().await? == 0 {
                return Err("the connection was closed within a body".to_owned());
            }
        }
    }

    async fn chunks(&mut self) -> Result<Bytes, String> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
            if length == 0 {
                // Trailers end with an empty line.
                while !self.line().await?.is_empty() {}
                return Ok(body.into());
            }
            body.extend_from_slice(&self.take(length).await?);
            self.line().await?;
        }
    }
}

/// The head of a response, once all of it has arrived.
fn head_of(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| error.to_string())?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let mut body = BodyLength::Rest;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = BodyLength::Chunked;
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(header.value).map_err(|error| error.to_string())?;
            let length = digits.trim().parse();
            body = BodyLength::Known(length.map_err(|_| format!("a length of {digits:?}"))?);
        }
    }
    let status = response.code.unwrap_or_default();
    Ok(Some(Head {
        status,
        length,
        body,
    }))
}

/// The headers in a complete head.
fn headers_of(head: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(head).map_err(|error| error.to_string())?;
    let text = |header: &httparse::Header<'_>| {
        (
            header.name.to_ascii_lowercase(),
            String::from_utf8_lossy(header.value).into_owned(),
        )
    };
    Ok(response.headers.iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A connection to a server that sends `bytes`, then closes.
    async fn connected(bytes: &'static [u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // One byte at a time, so that a response arrives in pieces.
            for byte in bytes {
                stream.write_all(&[*byte]).await.unwrap();
            }
        });
        Connection::open(&address).await.unwrap()
    }

    #[tokio::test]
    async fn each_kind_of_body_is_read_to_its_end() {
        for (bytes, status, body) in [
            (
                &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
                200,
                "ok",
            ),
            (
                b"HTTP/1.1 422 No\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
                422,
                "abcd",
            ),
            (
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nrest",
                200,
                "rest",
            ),
            (
                b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
                204,
                "",
            ),
        ] {
            let response = connected(bytes).await.receive(false).await.unwrap();
            assert_eq!((response.status, &response.body[..]), (status, body.as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_response_that_is_cut_short_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Le"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            b"SMTP ready\r\n\r\n",
        ] {
            assert!(connected(bytes).await.receive(false).await.is_err());
        }
    }

    #[tokio::test]
    async fn responses_that_arrive_together_are_counted_until_one_is_no_success() {
        const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
        const ALL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx\
            HTTP/1.1 503 No\r\ncontent-length: 2\r\nRetry-After: 1\r\n\r\nno\
            HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
        assert_eq!(head_of(OK).unwrap().unwrap().body, BodyLength::Known(1));
        let mut connection = connected(ALL).await;
        assert!(matches!(connection.receive_many().await, Ok((1, None))));
        let (succeeded, other) = connection.receive_many().await.unwrap();
        let other = other.unwrap();
        assert_eq!(
            (succeeded, other.status, &other.body[..]),
            (0, 503, &b"no"[..])
        );
        assert_eq!(other.header("retry-after"), "1");
        assert!(matches!(connection.receive_many().await, Ok((1, None))));
        assert!(connection.receive_many().await.is_err(), "it was closed");
    }
}
