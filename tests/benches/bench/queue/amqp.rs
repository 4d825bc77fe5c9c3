//! The few frames of AMQP 0-9-1 that a put, a delivery and an acknowledgement need.
//!
//! Written by hand: a client library would bring some forty crates into every build of the tests for one measurement.
//! Source: AMQP 0-9-1 specification, §2.3.5 (frames), §4.2 (format); `RabbitMQ`'s confirms.

use super::servers::Wire;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xCE;
/// Basic, the class of messages.
const BASIC: u16 = 60;

/// A connection with one channel on which puts are confirmed.
pub(super) struct Amqp {
    wire: Wire,
}

/// Class and method of a frame, and its arguments.
struct Method {
    id: (u16, u16),
    arguments: Vec<u8>,
}

impl Amqp {
    /// Connects, opens a channel, turns confirms on.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn open(address: &str) -> Result<Self, String> {
        let mut wire = Wire::open(address).await?;
        wire.send(b"AMQP\x00\x00\x09\x01").await?;
        let mut amqp = Self { wire };
        amqp.expect((10, 10)).await?;
        let mut start_ok = vec![0, 0, 0, 0]; // no properties
        short(&mut start_ok, "PLAIN");
        long(&mut start_ok, b"\0guest\0guest");
        short(&mut start_ok, "en_US");
        amqp.method(0, (10, 11), &start_ok).await?;
        let tune = amqp.expect((10, 30)).await?;
        // Channels and frame size as offered; no heartbeats.
        let offered = tune.get(..6).ok_or("a short tune")?;
        amqp.method(0, (10, 31), &[offered, &[0, 0]].concat())
            .await?;
        let mut open = Vec::new();
        short(&mut open, "/");
        short(&mut open, "");
        open.push(0);
        amqp.method(0, (10, 40), &open).await?;
        amqp.expect((10, 41)).await?;
        amqp.method(1, (20, 10), &[0]).await?;
        amqp.expect((20, 11)).await?;
        amqp.method(1, (85, 10), &[0]).await?;
        amqp.expect((85, 11)).await?;
        Ok(amqp)
    }

    /// Declares a durable quorum queue on three nodes.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn declare_quorum(&mut self, queue: &str) -> Result<(), String> {
        let mut table = Vec::new();
        short(&mut table, "x-queue-type");
        table.push(b'S');
        long(&mut table, b"quorum");
        short(&mut table, "x-quorum-initial-group-size");
        table.push(b'I');
        table.extend(3_i32.to_be_bytes());
        let mut declare = vec![0, 0];
        short(&mut declare, queue);
        declare.push(0b10); // durable
        long(&mut declare, &table);
        self.method(1, (50, 10), &declare).await?;
        self.expect((50, 11)).await.map(drop)
    }

    /// Publishes a persistent message, and waits for its confirm.
    ///
    /// # Errors
    /// It was not confirmed.
    pub(super) async fn publish(&mut self, queue: &str, body: &[u8]) -> Result<(), String> {
        let mut publish = vec![0, 0];
        short(&mut publish, "");
        short(&mut publish, queue);
        publish.push(0);
        let mut header = Vec::new();
        header.extend(BASIC.to_be_bytes());
        header.extend([0, 0]);
        header.extend((body.len() as u64).to_be_bytes());
        header.extend([0x10, 0, 2]); // delivery mode: persistent
        let mut bytes = method_frame(1, (BASIC, 40), &publish);
        bytes.extend(frame(HEADER, 1, &header));
        bytes.extend(frame(BODY, 1, body));
        self.wire.send(&bytes).await?;
        self.expect((BASIC, 80)).await.map(drop)
    }

    /// The next message's tag, if there is a message.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn get(&mut self, queue: &str) -> Result<Option<u64>, String> {
        let mut get = vec![0, 0];
        short(&mut get, queue);
        get.push(0);
        self.method(1, (BASIC, 70), &get).await?;
        let got = self.next_method().await?;
        if got.id == (BASIC, 72) {
            return Ok(None);
        }
        let tag = got.arguments.get(..8).filter(|_| got.id == (BASIC, 71));
        let tag = tag
            .and_then(|tag| tag.try_into().ok())
            .ok_or("no message")?;
        let (_, header) = self.frame().await?;
        let length = header.get(4..12).and_then(|length| length.try_into().ok());
        let length = u64::from_be_bytes(length.ok_or("a short header")?);
        let mut read = 0;
        while read < length {
            read += self.frame().await?.1.len() as u64;
        }
        Ok(Some(u64::from_be_bytes(tag)))
    }

    /// Acknowledges a message. There is no response.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn ack(&mut self, tag: u64) -> Result<(), String> {
        let mut ack = tag.to_be_bytes().to_vec();
        ack.push(0);
        self.method(1, (BASIC, 80), &ack).await
    }

    async fn method(
        &mut self,
        channel: u16,
        id: (u16, u16),
        arguments: &[u8],
    ) -> Result<(), String> {
        self.wire.send(&method_frame(channel, id, arguments)).await
    }

    /// The arguments of the next method, which must be this one.
    async fn expect(&mut self, id: (u16, u16)) -> Result<Vec<u8>, String> {
        let method = self.next_method().await?;
        if method.id != id {
            let text = String::from_utf8_lossy(&method.arguments);
            return Err(format!("{:?} instead of {id:?}: {text}", method.id));
        }
        Ok(method.arguments)
    }

    async fn next_method(&mut self) -> Result<Method, String> {
        loop {
            let (kind, payload) = self.frame().await?;
            if kind == HEARTBEAT {
                continue;
            }
            let &[a, b, c, d, ref arguments @ ..] = &payload[..] else {
                return Err("a short frame".to_owned());
            };
            return Ok(Method {
                id: (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
                arguments: arguments.to_vec(),
            });
        }
    }

    /// The next frame's kind and payload.
    async fn frame(&mut self) -> Result<(u8, Vec<u8>), String> {
        let head = self.wire.bytes(7).await?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = self.wire.bytes(length as usize + 1).await?;
        if payload.pop() != Some(FRAME_END) {
            return Err("a frame without its end".to_owned());
        }
        Ok((head[0], payload))
    }
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    long(&mut bytes, payload);
    bytes.push(FRAME_END);
    bytes
}

fn method_frame(channel: u16, (class, method): (u16, u16), arguments: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(4 + arguments.len());
    payload.extend(class.to_be_bytes());
    payload.extend(method.to_be_bytes());
    payload.extend_from_slice(arguments);
    frame(METHOD, channel, &payload)
}

/// A text of at most 255 bytes, with its length.
fn short(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(u8::try_from(text.len()).expect("a short text"));
    bytes.extend_from_slice(text.as_bytes());
}

/// Bytes with their length.
fn long(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend(
        u32::try_from(content.len())
            .expect("few bytes")
            .to_be_bytes(),
    );
    bytes.extend_from_slice(content);
}
