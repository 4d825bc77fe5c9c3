//! Commands that a client might send, and bytes that no client should.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::sim::rng::Rng;

/// Tasks whose tokens are remembered.
const MOST_LEASES: usize = 256;
/// Keys of the key-value store. Few, so that commands meet.
const KEYS: u64 = 400;

/// Whose commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Those of the counter, and of guests in other languages that do the same.
    Counter,
    /// Those of the key-value store.
    Kv,
    /// Those of the task queue.
    Queue,
}

impl Language {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("counter", Self::Counter),
        ("kv", Self::Kv),
        ("queue", Self::Queue),
    ];
}

/// Thinks of commands.
#[derive(Debug)]
pub(super) struct Commands {
    language: Language,
    rng: Rng,
    /// What the queue has given out: ids and tokens.
    leases: VecDeque<(u64, String)>,
}

impl Commands {
    pub(super) fn new(language: Language, rng: Rng) -> Self {
        Self {
            language,
            rng,
            leases: VecDeque::new(),
        }
    }

    /// The next one. One in eight is malformed in some way.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let command = match self.language {
            Language::Counter => self.counter(),
            Language::Kv => self.kv(),
            Language::Queue => self.queue(),
        };
        let bytes = command.to_string().into_bytes();
        if self.rng.chance(125) {
            self.damaged(bytes)
        } else {
            bytes
        }
    }

    /// A reply of the queue: it may contain tasks.
    pub(super) fn learn(&mut self, reply: &[u8]) {
        if self.language != Language::Queue {
            return;
        }
        let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
        for task in reply["tasks"].as_array().into_iter().flatten() {
            if let (Some(id), Some(token)) = (task["id"].as_u64(), task["token"].as_str()) {
                self.leases.push_back((id, token.to_owned()));
            }
        }
        while self.leases.len() > MOST_LEASES {
            self.leases.pop_front();
        }
    }

    fn counter(&mut self) -> Value {
        let by = match self.rng.below(20) {
            0 => i64::MAX,
            1 => i64::MIN,
            2 => 0,
            _ => self.rng.below(2000) as i64 - 1000,
        };
        json!({"add": {"by": by}})
    }

    fn kv(&mut self) -> Value {
        let key = self.key();
        match self.rng.below(10) {
            0..=4 => json!({"put": {"key": key, "value": self.text(200)}}),
            5 | 6 => json!({"delete": {"key": key}}),
            _ => {
                let expect = self.rng.chance(500).then(|| self.text(3));
                json!({"cas": {"key": key, "expect": expect, "value": self.text(3)}})
            }
        }
    }

    fn key(&mut self) -> String {
        format!("key-{}", self.rng.below(KEYS))
    }

    fn queue(&mut self) -> Value {
        let queue = format!("q{}", self.rng.below(4));
        // More is acknowledged than comes, or the state would only grow.
        match self.rng.below(13) {
            0..=2 => self.enqueue(queue),
            3..=5 => json!({"reserve": {
                "queues": [queue, "q0"],
                "worker": format!("w{}", self.rng.below(3)),
                "lease_ms": 1 + self.rng.below(20_000),
                "max": 1 + self.rng.below(5),
                // A worker that waits gets its reply later, or never.
                "wait_ms": if self.rng.chance(100) { self.rng.below(5000) } else { 0 },
            }}),
            6..=10 => {
                let (id, token) = self.lease();
                json!({"ack": {"id": id, "token": token}})
            }
            11 => {
                let (id, token) = self.lease();
                let delay_ms = self.rng.below(5000);
                json!({"nack": {"id": id, "token": token, "delay_ms": delay_ms, "error": self.text(20)}})
            }
            _ => {
                let (id, token) = self.lease();
                json!({"extend": {"id": id, "token": token, "lease_ms": 1 + self.rng.below(10_000)}})
            }
        }
    }

    fn enqueue(&mut self, queue: String) -> Value {
        let mut task = json!({"queue": queue, "payload": {"text": self.text(100), "number": self.rng.number()}});
        if self.rng.chance(300) {
            task["priority"] = json!(self.rng.below(10) as i64 - 5);
        }
        if self.rng.chance(300) {
            task["delay_ms"] = json!(self.rng.below(10_000));
        }
        if self.rng.chance(300) {
            task["max_attempts"] = json!(1 + self.rng.below(4));
        }
        if self.rng.chance(200) {
            task["dedupe_key"] = json!(format!("d{}", self.rng.below(50)));
        }
        json!({"enqueue": task})
    }

    /// A task that was given out, mostly once; now and then one that never was.
    fn lease(&mut self) -> (u64, String) {
        let place = self.rng.place(self.leases.len());
        let known = if self.rng.chance(800) {
            self.leases.remove(place)
        } else {
            self.leases.get(place).cloned()
        };
        known
            .filter(|_| self.rng.chance(950))
            .unwrap_or_else(|| (self.rng.below(1000), self.text(12)))
    }

    /// Text with letters of one to four bytes.
    fn text(&mut self, most: u64) -> String {
        let length = self.rng.below(most + 1);
        let letters = [
            'a', 'b', 'z', '0', ' ', '"', '\\', '\n', 'ü', '€', '🦀', '\u{0}',
        ];
        (0..length).map(|_| self.rng.pick(&letters)).collect()
    }

    fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self.rng.below(6) {
            // Cut off.
            0 => bytes.truncate(self.rng.place(bytes.len())),
            // A changed byte; the result may still be a valid command.
            1 => {
                let place = self.rng.place(bytes.len());
                bytes[place] = self.rng.number() as u8;
            }
            // More behind it.
            2 => bytes.extend_from_slice(b"{}"),
            // No JSON at all.
            3 => {
                bytes = (0..self.rng.below(64))
                    .map(|_| self.rng.number() as u8)
                    .collect();
            }
            // Unknown fields, and wrong types.
            4 => {
                let odd = [
                    json!({"unknown": {}}),
                    json!({"add": {"by": "five"}}),
                    json!({"add": {"by": 1.5}}),
                    json!({"add": {}}),
                    json!({"put": {"key": "", "value": null}}),
                    json!({"cas": {"key": "k"}}),
                    json!({"reserve": {"queues": [], "worker": "w"}}),
                    json!({"enqueue": {"queue": "q0"}}),
                    json!({"ack": {"id": -1, "token": 7}}),
                    json!([1, 2, 3]),
                    json!(null),
                    json!(1e300),
                ];
                bytes = odd[self.rng.place(odd.len())].to_string().into_bytes();
            }
            // Deep.
            _ => {
                let depth = 1 + self.rng.place(300);
                bytes = [vec![b'['; depth], vec![b']'; depth]].concat();
            }
        }
        bytes
    }
}
