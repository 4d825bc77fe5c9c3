//! Random commands, compared with a simple model: one list that is scanned from end to end.

use oarlock_guest::testing::{Harness, TestStep, assert_live_and_restored_agree};
use serde_json::{Map, Value, json};

use super::Node;
use crate::Queues;
use crate::limits::DEDUPE_WINDOW_MS;

/// Marsaglia's xorshift. A seed reproduces a run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len() as u64) as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Ready,
    Delayed(u64),
    Leased(u64),
    Dead,
    Done(u64),
}

#[derive(Debug, Clone)]
struct Entry {
    id: u64,
    queue: String,
    priority: u64,
    max_attempts: u64,
    attempt: u64,
    at: At,
    key: Option<String>,
    token: Option<String>,
    errors: Vec<String>,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
}

impl Model {
    fn enqueue(
        &mut self,
        now: u64,
        queue: &str,
        priority: u64,
        delay: u64,
        max_attempts: u64,
        key: Option<&str>,
    ) -> Value {
        let known = self
            .entries
            .iter()
            .rev()
            .find(|entry| entry.queue == queue && key.is_some() && entry.key.as_deref() == key);
        if let Some(first) = known
            && !matches!(first.at, At::Done(done) if done + DEDUPE_WINDOW_MS <= now)
        {
            return json!({"id": first.id, "duplicate": true});
        }
        let id = self.entries.len() as u64 + 1;
        self.entries.push(Entry {
            id,
            queue: queue.to_owned(),
            priority,
            max_attempts,
            attempt: 0,
            at: if delay == 0 {
                At::Ready
            } else {
                At::Delayed(now + delay)
            },
            key: key.map(str::to_owned),
            token: None,
            errors: Vec::new(),
        });
        json!({"id": id, "duplicate": false})
    }

    fn pass_time(&mut self, now: u64, queues: &[&str]) {
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| queues.contains(&entry.queue.as_str()))
        {
            match entry.at {
                At::Delayed(until) if until <= now => entry.at = At::Ready,
                At::Leased(until) if until <= now => {
                    entry
                        .errors
                        .push("the lease of worker w ran out".to_owned());
                    entry.at = if entry.attempt == entry.max_attempts {
                        At::Dead
                    } else {
                        At::Ready
                    };
                }
                _ => {}
            }
        }
    }

    /// The ids that a reserve delivers; their tokens are those that the queue made.
    fn reserve(&mut self, now: u64, queues: &[&str], lease: u64, max: u64) -> Vec<u64> {
        self.pass_time(now, queues);
        let mut ids = Vec::new();
        while (ids.len() as u64) < max {
            let ready = |entry: &&mut Entry| {
                entry.at == At::Ready && queues.contains(&entry.queue.as_str())
            };
            let first = self
                .entries
                .iter_mut()
                .filter(ready)
                .min_by_key(|entry| (entry.priority, entry.id));
            let Some(entry) = first else { break };
            entry.at = At::Leased(now + lease);
            entry.attempt += 1;
            ids.push(entry.id);
        }
        ids
    }

    fn held(&mut self, id: u64, token: &str) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| entry.id == id && entry.token.as_deref() == Some(token))
    }

    fn stats(&self) -> Value {
        let mut queues = Map::new();
        for entry in &self.entries {
            let counts = queues.entry(entry.queue.clone()).or_insert_with(
                || json!({"ready": 0, "delayed": 0, "leased": 0, "dead": 0, "completed": 0}),
            );
            let name = state(entry.at).unwrap_or("completed");
            counts[name] = json!(counts[name].as_u64().unwrap() + 1);
        }
        json!({"queues": queues})
    }

    fn task(&self, id: u64) -> Value {
        let found = self.entries.iter().find(|entry| entry.id == id);
        let shown = found.and_then(|entry| {
            let errors = &entry.errors[entry.errors.len().saturating_sub(10)..];
            Some(json!({"id": id, "queue": entry.queue, "state": state(entry.at)?, "attempt": entry.attempt,
                        "payload": {"n": id}, "errors": errors}))
        });
        json!({"task": shown})
    }
}

fn state(at: At) -> Option<&'static str> {
    match at {
        At::Ready => Some("ready"),
        At::Delayed(_) => Some("delayed"),
        At::Leased(_) => Some("leased"),
        At::Dead => Some("dead"),
        At::Done(_) => None,
    }
}

impl Node {
    /// The response to `task`, without the history of failures that repeats the errors.
    fn shown(&self, id: u64) -> Value {
        let mut shown = self.query(json!({"task": {"id": id}}));
        if let Some(task) = shown["task"].as_object_mut() {
            task.remove("failures");
        }
        shown
    }
}

/// The queue and the model side by side.
struct Pair {
    node: Node,
    model: Model,
    random: Random,
    /// All tokens that were delivered, with their tasks.
    tokens: Vec<(u64, String)>,
    seed: u64,
}

impl Pair {
    fn new(seed: u64) -> Self {
        Self {
            node: Node(Harness::new()),
            model: Model::default(),
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            tokens: Vec::new(),
            seed,
        }
    }

    fn step(&mut self) {
        let pause = *self
            .random
            .one_of(&[&0_u64, &0, &1, &7, &50, &400, &(DEDUPE_WINDOW_MS / 2)]);
        self.node.advance_ms(pause);
        match self.random.below(12) {
            0..=3 => self.enqueue(),
            4..=6 => self.reserve(),
            7..=8 => self.finish("ack"),
            9 => self.finish("nack"),
            10 => self.finish("extend"),
            _ => self.wake(),
        }
        assert_eq!(
            self.node.query(json!({"stats": {}})),
            self.model.stats(),
            "seed {}",
            self.seed
        );
        let id = 1 + self.random.below(self.model.entries.len() as u64 + 1);
        assert_eq!(
            self.node.shown(id),
            self.model.task(id),
            "seed {}",
            self.seed
        );
    }

    fn enqueue(&mut self) {
        let random = &mut self.random;
        let queue = random.one_of(&["a", "b", "c"]);
        let (priority, max_attempts) = (random.below(3), 1 + random.below(3));
        let delay = random.below(3) * random.below(60);
        let key = Some(random.one_of(&["k", "l", "m", ""])).filter(|key| !key.is_empty());
        let expected = self.model.enqueue(
            self.node.now_ms(),
            queue,
            priority,
            delay,
            max_attempts,
            key,
        );
        let payload = json!({"n": self.model.entries.len()});
        let reply = self.node.send(
            json!({"enqueue": {"queue": queue, "payload": payload, "priority": priority,
            "delay_ms": delay, "max_attempts": max_attempts, "dedupe_key": key}}),
        );
        assert_eq!(reply, expected, "seed {}", self.seed);
    }

    fn reserve(&mut self) {
        let random = &mut self.random;
        let queues: &[&str] = random.one_of(&[
            &["a"][..],
            &["b", "c"],
            &["c", "a", "missing"],
            &["a", "b", "c"],
        ]);
        let (lease, max) = (1 + random.below(100), 1 + random.below(4));
        let now = self.node.now_ms();
        let expected = self.model.reserve(now, queues, lease, max);
        let reply = self.node.send(
            json!({"reserve": {"queues": queues, "worker": "w", "lease_ms": lease, "max": max}}),
        );
        let delivered = reply["tasks"].as_array().unwrap();
        let ids: Vec<u64> = delivered
            .iter()
            .map(|task| task["id"].as_u64().unwrap())
            .collect();
        assert_eq!(ids, expected, "seed {}", self.seed);
        for task in delivered {
            let id = task["id"].as_u64().unwrap();
            let entry = &mut self.model.entries[id as usize - 1];
            assert_eq!(
                (&task["attempt"], &task["queue"]),
                (&json!(entry.attempt), &json!(entry.queue))
            );
            assert_eq!(
                (&task["payload"], &task["lease_until_ms"]),
                (&json!({"n": id}), &json!(now + lease))
            );
            let token = task["token"].as_str().unwrap().to_owned();
            assert!(
                !self.tokens.contains(&(id, token.clone())),
                "a token is new"
            );
            entry.token = Some(token.clone());
            self.tokens.push((id, token));
        }
    }

    /// Acknowledges, returns or extends with a recent token. Most of them are stale.
    fn finish(&mut self, command: &str) {
        let recent = self.tokens.len().min(8) as u64;
        if recent == 0 {
            return;
        }
        let (id, token) =
            self.tokens[self.tokens.len() - 1 - self.random.below(recent) as usize].clone();
        let (now, span) = (self.node.now_ms(), 1 + self.random.below(80));
        let mut fields = json!({"id": id, "token": token});
        match command {
            "nack" => {
                fields = super::with(
                    fields,
                    json!({"delay_ms": span, "error": format!("e{span}")}),
                );
            }
            "extend" => fields = super::with(fields, json!({"lease_ms": span})),
            _ => {}
        }
        let outcome = self.node.0.send(json!({command: fields}).to_string());
        let Some(entry) = self.model.held(id, &token) else {
            assert!(
                !outcome.accepted,
                "seed {}: a stale token was taken",
                self.seed
            );
            return;
        };
        let expected = match command {
            "ack" => {
                (entry.at, entry.token) = (At::Done(now), None);
                json!({})
            }
            "nack" => {
                entry.at = if entry.attempt == entry.max_attempts {
                    At::Dead
                } else {
                    At::Delayed(now + span)
                };
                entry.token = None;
                entry.errors.push(format!("e{span}"));
                json!({"state": state(entry.at)})
            }
            _ => {
                entry.at = At::Leased(now + span);
                json!({"lease_until_ms": now + span})
            }
        };
        assert!(outcome.accepted, "seed {}: {outcome:?}", self.seed);
        assert_eq!(
            serde_json::from_str::<Value>(outcome.text()).unwrap(),
            expected,
            "seed {}",
            self.seed
        );
    }

    fn wake(&mut self) {
        self.node.0.wake();
        self.model.pass_time(self.node.now_ms(), &["a", "b", "c"]);
    }
}

#[test]
fn the_queue_behaves_as_the_simple_model() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed);
        for _ in 0..250 {
            pair.step();
        }
    }
}

#[test]
fn a_restored_queue_behaves_as_the_live_one() {
    for seed in 100..106 {
        assert_live_and_restored_agree::<Queues>(recorded_run(seed));
    }
}

/// The entries of a run. Tokens depend only on earlier entries, so another run of the same entries has the same tokens.
fn recorded_run(seed: u64) -> Vec<TestStep> {
    let mut queue = Harness::<Queues>::new();
    let mut random = Random(seed);
    let mut tokens = vec![(1, "none".to_owned())];
    let mut steps = Vec::new();
    for _ in 0..150 {
        let pause_ms = *random.one_of(&[&0_u64, &3, &40]);
        let command = command(&mut random, &tokens).to_string();
        let outcome = queue.advance_ms(pause_ms).send(&command);
        let reply: Value = serde_json::from_str(outcome.text()).unwrap();
        for task in reply["tasks"].as_array().into_iter().flatten() {
            tokens.push((
                task["id"].as_u64().unwrap(),
                task["token"].as_str().unwrap().to_owned(),
            ));
        }
        steps.push(TestStep::from((pause_ms, command)));
    }
    let done = queue.send_query(r#"{"stats":{}}"#);
    assert!(
        !done.text().contains(r#""completed":0"#),
        "the run completes tasks: {done:?}"
    );
    steps
}

fn command(random: &mut Random, tokens: &[(u64, String)]) -> Value {
    let (id, token) = &tokens[tokens.len() - 1 - random.below(tokens.len().min(4) as u64) as usize];
    match random.below(5) {
        0 | 1 => {
            json!({"enqueue": {"queue": random.one_of(&["a", "b"]), "payload": {"n": random.below(9)},
            "priority": random.below(3), "delay_ms": random.below(2) * 20, "max_attempts": 2,
            "dedupe_key": format!("k{}", random.below(40))}})
        }
        2 => json!({"reserve": {"queues": ["a", "b"], "worker": "w", "lease_ms": 50, "max": 2}}),
        3 => json!({"ack": {"id": id, "token": token}}),
        _ => json!({"nack": {"id": id, "token": token, "delay_ms": 10, "error": "again"}}),
    }
}
