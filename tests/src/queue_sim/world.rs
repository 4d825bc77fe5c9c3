//! Clients and operators, and what goes wrong: lost requests and replies, clients that stop, failovers, clocks that jump.

use serde_json::{Value, json};

use super::QueueCoverage;
use super::cluster::{QueueCluster, RequestKey, Response};
use super::later::{INTERVAL, LATER, LIST};
use super::planted::PlantedQueueFault;
use crate::sim::rng::Rng;

/// Queues of producers. Dead tasks of the first one may move to `letters`, and the queue adds tasks to `later` on its own.
const QUEUES: [&str; 3] = ["a", "b", "c"];
/// A queue of plain tasks, whose length may be limited.
const SHORT: &str = "short";
const ALL_QUEUES: [&str; 6] = ["a", "b", "c", "letters", LATER, SHORT];
const CLIENTS: usize = 6;

/// A task in the hands of a worker.
#[derive(Debug, Clone)]
struct HeldTask {
    id: u64,
    token: String,
}

/// A client has one request at a time. It repeats it with its key until it has the response.
#[derive(Debug, Default)]
struct QueueClient {
    request: Option<(RequestKey, Value)>,
    held: Vec<HeldTask>,
    /// Tokens that it used, or gave up.
    old: Vec<HeldTask>,
}

pub(super) struct World {
    rng: Rng,
    cluster: QueueCluster,
    clients: Vec<QueueClient>,
    next_key: RequestKey,
    payload: u64,
    /// Number of the last group, and whether tasks may join it.
    group: (u64, bool),
    /// What tasks of this run use.
    habits: Habits,
}

/// What a run exercises more or less: each of 1,000.
struct Habits {
    lost: u64,
    fairness: u64,
    ordering: u64,
    priority: u64,
    delay: u64,
    dedupe: u64,
    limits: u64,
    ttl: u64,
    batches: u64,
    results: u64,
    weights: u64,
    letters: u64,
    groups: u64,
    schedules: u64,
    lengths: u64,
    retries: u64,
    purges: u64,
    redrives: u64,
    after: u64,
    watches: u64,
}

impl Habits {
    fn new(rng: &mut Rng) -> Self {
        let mut of = |choices: &[u64]| rng.pick(choices);
        let ordering = of(&[0, 0, 300, 800]);
        Self {
            lost: of(&[0, 100, 300]),
            fairness: of(&[0, 0, 500, 1000]),
            ordering,
            priority: of(&[0, 0, 400]),
            delay: of(&[0, 200, 600]),
            dedupe: of(&[0, 0, 400]),
            limits: of(&[0, 0, 20, 60]),
            ttl: of(&[0, 0, 300]),
            batches: of(&[0, 0, 300]),
            results: of(&[0, 500]),
            weights: of(&[0, 0, 700]),
            // The order of a line changes when one of its tasks joins that of another queue.
            letters: if ordering == 0 { of(&[0, 1000]) } else { 0 },
            groups: of(&[0, 0, 150]),
            schedules: of(&[0, 0, 15]),
            lengths: of(&[0, 0, 150]),
            retries: of(&[0, 0, 400]),
            purges: of(&[0, 0, 0, 8]),
            // A dead task that returns to its line is older than the one whose turn it is.
            redrives: if ordering == 0 { of(&[0, 0, 20]) } else { 0 },
            // Two tasks could wait for each other: one in the line of the other.
            after: if ordering == 0 { of(&[0, 0, 200]) } else { 0 },
            watches: of(&[0, 0, 60]),
        }
    }
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<PlantedQueueFault>) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            habits: Habits::new(&mut rng),
            rng,
            cluster: QueueCluster::new(planted),
            clients: (0..CLIENTS).map(|_| QueueClient::default()).collect(),
            next_key: 0,
            payload: 0,
            group: (0, false),
        }
    }

    /// Position in the log.
    pub(super) fn entry(&self) -> u64 {
        self.cluster.checker.coverage.entries
    }

    pub(super) fn run(&mut self, steps: usize) -> Result<QueueCoverage, String> {
        self.set_up()?;
        for step in 0..steps {
            self.let_time_pass();
            if self.rng.chance(800) {
                self.cluster.wake()?;
            }
            if self.rng.chance(15) {
                self.fail_over();
            }
            if self.rng.chance(self.habits.limits) {
                self.operate()?;
            }
            self.relate()?;
            self.clean_up()?;
            let client = self.rng.place(CLIENTS);
            self.act(client)?;
            if step % 16 == 0 {
                self.check_stats()?;
            }
        }
        self.settle()?;
        Ok(self.cluster.checker.counted())
    }

    /// Settings that stay for the run.
    fn set_up(&mut self) -> Result<(), String> {
        for queue in QUEUES {
            for key in ["x", "y", "z"] {
                if self.rng.chance(self.habits.weights) {
                    let weight = self.rng.between(1, 4);
                    let key = json!({"queue": queue, "key": key, "weight": weight});
                    self.send_new(&json!({ "configure_key": key }))?;
                }
            }
        }
        if self.rng.chance(self.habits.lengths * 6) {
            self.limit_length()?;
        }
        if self.rng.chance(self.habits.retries) {
            let retry = json!({"queue": QUEUES[1], "retry": self.retry()});
            self.send_new(&json!({ "configure": retry }))?;
        }
        if self.rng.chance(self.habits.letters) {
            let letters = json!({"queue": QUEUES[0], "dead_letter": "letters"});
            self.send_new(&json!({ "configure": letters }))?;
        }
        Ok(())
    }

    /// Changes how many tasks the short queue may have, and what happens to more.
    fn limit_length(&mut self) -> Result<(), String> {
        let most = self.rng.between(1, 5);
        let overflow = self.rng.pick(&["refuse", "drop_oldest", "drop_oldest"]);
        let length = json!({"queue": SHORT, "max_length": most, "overflow": overflow});
        self.send_new(&json!({ "configure": length })).map(drop)
    }

    fn retry(&mut self) -> Value {
        let backoff = self.rng.pick(&["fixed", "linear", "exponential"]);
        let base_ms = self.rng.between(1, 400);
        json!({"backoff": backoff, "base_ms": base_ms, "max_ms": base_ms * 3})
    }

    /// An operator removes or returns tasks.
    fn clean_up(&mut self) -> Result<(), String> {
        let queue = self.rng.pick(&QUEUES);
        if self.rng.chance(self.habits.purges) {
            let purge = json!({"queue": queue, "dead": self.rng.chance(500)});
            self.send_new(&json!({ "purge": purge }))?;
        }
        if self.rng.chance(self.habits.redrives) {
            self.send_new(&json!({"redrive": {"queue": queue}}))?;
        }
        Ok(())
    }

    /// Begins or closes a group, or sets the schedule.
    fn relate(&mut self) -> Result<(), String> {
        if self.rng.chance(self.habits.groups / 3) {
            let (number, is_open) = self.group;
            let command = if is_open {
                json!({"close_group": {"group": format!("g{number}")}})
            } else {
                self.group.0 = number + 1;
                let name = format!("g{}", number + 1);
                json!({"open_group": {
                    "group": name,
                    "on_complete": {"queue": LATER, "payload": format!("done-{name}")},
                    "on_dead": {"queue": LATER, "payload": format!("dead-{name}")},
                }})
            };
            self.group.1 = !is_open;
            self.send_new(&command)?;
        }
        if self.rng.chance(self.habits.schedules) {
            self.payload += 1;
            let task = json!({"queue": LATER, "payload": format!("tick-{}", self.payload)});
            let every_ms = self.rng.between(1000, 3000);
            let schedule =
                json!({"name": INTERVAL, "every_ms": every_ms, "catch_up": "last", "task": task});
            self.send_new(&json!({ "set_schedule": schedule }))?;
        }
        if self.rng.chance(self.habits.schedules) {
            self.payload += 1;
            let task = json!({"queue": LATER, "payload": format!("tick-{}", self.payload)});
            let now_ms = self.cluster.queue.queue.time_ms();
            let at_ms: Vec<u64> = (0..4).map(|_| now_ms + self.rng.between(1, 3000)).collect();
            let schedule = json!({"name": LIST, "at_ms": at_ms, "catch_up": "all", "task": task});
            self.send_new(&json!({ "set_schedule": schedule }))?;
        }
        if self.rng.chance(2 * self.habits.schedules) {
            let pause =
                json!({"name": self.rng.pick(&[INTERVAL, LIST]), "paused": self.rng.chance(500)});
            self.send_new(&json!({ "pause_schedule": pause }))?;
        }
        Ok(())
    }

    fn let_time_pass(&mut self) {
        let by_ms = match self.rng.below(20) {
            0..=9 => self.rng.below(5),
            10..=17 => self.rng.below(100),
            18 => self.rng.below(2000),
            _ => 0,
        };
        self.cluster.clock_ms += by_ms;
        if self.rng.chance(4) {
            self.cluster.checker.coverage.clock_jumps += 1;
            self.cluster.clock_ms += self.rng.below(7_200_000);
        }
    }

    /// The clock of the new leader may be behind. Then the time of the log stands still for a while.
    fn fail_over(&mut self) {
        let clock_ms = (self.cluster.clock_ms + self.rng.below(3000)).saturating_sub(1500);
        self.cluster.fail_over(clock_ms);
    }

    fn query(&self, query: &Value) -> Result<Value, String> {
        let response = self.cluster.queue.queue.send_query(query.to_string());
        serde_json::from_str(response.text()).map_err(|error| error.to_string())
    }

    fn check_stats(&mut self) -> Result<(), String> {
        let stats = self.query(&json!({"stats": {}}))?;
        self.cluster.checker.check_stats(&stats)?;
        let now_ms = self.cluster.queue.queue.time_ms();
        for id in self.cluster.checker.with_result() {
            let shown = self.query(&json!({"task": {"id": id}}))?;
            self.cluster.checker.check_result(id, now_ms, &shown)?;
        }
        Ok(())
    }

    fn operate(&mut self) -> Result<(), String> {
        if self.rng.chance(self.habits.lengths) {
            self.limit_length()?;
        }
        let queue = self.rng.pick(&QUEUES);
        let command = match self.rng.below(6) {
            0 => json!({"pause": {"queue": queue}}),
            1 | 2 => json!({"resume": {"queue": queue}}),
            _ => {
                let mut most = |of: &[u64]| match self.rng.pick(of) {
                    0 => Value::Null,
                    most => most.into(),
                };
                let (concurrency, key_concurrency) = (most(&[0, 1, 2, 4]), most(&[0, 0, 1, 2]));
                let mut rate = || match self.rng.below(3) {
                    0 => {
                        json!({"tasks": self.rng.between(1, 5), "per_ms": self.rng.between(50, 500),
                                "burst": self.rng.between(1, 3)})
                    }
                    _ => Value::Null,
                };
                let rate = rate();
                // So slow that a key without its limit is soon seen.
                let key_rate = match self.rng.below(2) {
                    0 => json!({"tasks": 1, "per_ms": self.rng.between(500, 3000), "burst": 1}),
                    _ => Value::Null,
                };
                json!({"configure": {"queue": queue, "concurrency": concurrency,
                                     "key_concurrency": key_concurrency, "rate": rate,
                                     "key_rate": key_rate}})
            }
        };
        self.send_new(&command).map(drop)
    }

    fn send_new(&mut self, command: &Value) -> Result<Response, String> {
        self.next_key += 1;
        self.cluster.request(self.next_key, command)
    }

    /// A client sends its request, or sends it again, or begins another one.
    fn act(&mut self, at: usize) -> Result<(), String> {
        if self.rng.chance(10) {
            // It stops, and another one takes its place. Its tasks stay held until their leases end.
            self.clients[at] = QueueClient::default();
        }
        if self.clients[at].request.is_none() {
            let command = self.next_command(at);
            self.next_key += 1;
            self.clients[at].request = Some((self.next_key, command));
        }
        let Some((key, command)) = self.clients[at].request.clone() else {
            return Ok(());
        };
        if self.rng.chance(self.habits.lost) {
            return Ok(());
        }
        let response = self.cluster.request(key, &command)?;
        if response == Response::None || self.rng.chance(self.habits.lost) {
            return Ok(());
        }
        self.clients[at].request = None;
        if let Response::Accepted(reply) = response {
            for task in reply["tasks"].as_array().into_iter().flatten() {
                self.clients[at].held.push(HeldTask {
                    id: task["id"].as_u64().unwrap_or(0),
                    token: task["token"].as_str().unwrap_or("").to_owned(),
                });
            }
        }
        Ok(())
    }

    fn next_command(&mut self, at: usize) -> Value {
        let is_producer = at < CLIENTS / 2;
        let known = self.cluster.checker.known.tasks.len();
        if known > 0 && self.rng.chance(30) {
            let at = self.rng.place(known);
            let id = self.cluster.checker.known.tasks.keys().nth(at).copied();
            return json!({"cancel": {"id": id}});
        }
        if known > 0 && self.rng.chance(self.habits.watches) {
            let at = self.rng.place(known);
            let id = self.cluster.checker.known.tasks.keys().nth(at).copied();
            return json!({"wait_for": {"id": id, "wait_ms": self.rng.between(1, 3000)}});
        }
        if self.rng.chance(self.habits.batches) {
            return self.batch(at);
        }
        if is_producer && self.rng.chance(self.habits.lengths * 3) {
            return self.enqueue_short();
        }
        if is_producer || self.rng.chance(50) {
            return self.enqueue();
        }
        if !self.clients[at].old.is_empty() && self.rng.chance(80) {
            let place = self.rng.place(self.clients[at].old.len());
            let task = self.clients[at].old[place].clone();
            return self.end(&task);
        }
        if !self.clients[at].held.is_empty() && self.rng.chance(700) {
            let place = self.rng.place(self.clients[at].held.len());
            let task = self.clients[at].held.remove(place);
            self.clients[at].old.push(task.clone());
            return self.end(&task);
        }
        self.reserve(at)
    }

    /// Tasks to add, and ends of tasks that the client holds, each of another task.
    fn batch(&mut self, at: usize) -> Value {
        let mut commands = Vec::new();
        for _ in 0..self.rng.between(1, 3) {
            commands.push(self.enqueue());
        }
        while let Some(task) = self.clients[at].held.pop() {
            self.clients[at].old.push(task.clone());
            commands.push(self.end(&task));
        }
        json!({"batch": {"commands": commands, "all_or_nothing": self.rng.chance(500)}})
    }

    fn reserve(&mut self, at: usize) -> Value {
        let mut queues = vec![self.rng.pick(&ALL_QUEUES)];
        if self.rng.chance(300) {
            queues.push(self.rng.pick(&ALL_QUEUES));
        }
        let wait_ms = self.rng.pick(&[0, 0, 100, 3000]);
        json!({"reserve": {"queues": queues, "worker": format!("w{at}"), "max": self.rng.between(1, 3),
                           "lease_ms": self.rng.between(50, 3000), "wait_ms": wait_ms}})
    }

    fn end(&mut self, task: &HeldTask) -> Value {
        let mut fields = json!({"id": task.id, "token": task.token});
        let name = match self.rng.below(10) {
            0..=4 => {
                if self.rng.chance(self.habits.results) {
                    fields["result"] = json!({"of": task.id});
                    fields["result_ttl_ms"] = self.rng.between(100, 100_000).into();
                }
                "ack"
            }
            5 | 6 => {
                if self.rng.chance(500) {
                    fields["delay_ms"] = self.rng.below(1000).into();
                }
                "nack"
            }
            7 | 8 => {
                fields["lease_ms"] = self.rng.between(50, 3000).into();
                "extend"
            }
            _ => "release",
        };
        json!({ name: fields })
    }

    /// A task for the queue whose length is limited.
    fn enqueue_short(&mut self) -> Value {
        self.payload += 1;
        let mut task = json!({"queue": SHORT, "payload": self.payload,
                              "priority": self.rng.below(3)});
        if self.rng.chance(self.habits.fairness) {
            task["fairness_key"] = self.rng.pick(&["x", "y"]).into();
        }
        json!({ "enqueue": task })
    }

    fn enqueue(&mut self) -> Value {
        self.payload += 1;
        let mut task = json!({"queue": self.rng.pick(&QUEUES), "payload": self.payload,
                              "max_attempts": self.rng.pick(&[1, 2, 3, 20])});
        if self.rng.chance(self.habits.priority) {
            task["priority"] = self.rng.below(3).into();
        }
        if self.rng.chance(self.habits.delay) {
            task["delay_ms"] = self.rng.below(1500).into();
        }
        if self.rng.chance(self.habits.fairness) {
            task["fairness_key"] = self.rng.pick(&["x", "y", "z"]).into();
        }
        if self.rng.chance(self.habits.ordering) {
            task["ordering_key"] = self.rng.pick(&["o", "p"]).into();
        }
        if self.rng.chance(self.habits.dedupe) {
            task["dedupe_key"] = format!("d{}", self.rng.below(12)).into();
            task["dedupe_keep"] = self.rng.pick(&["first", "last", "debounce"]).into();
            if self.rng.chance(500) {
                task["dedupe_window_ms"] = self.rng.between(50, 5000).into();
            }
        }
        if self.rng.chance(self.habits.retries) {
            task["retry"] = self.retry();
        }
        let known = self.cluster.checker.known.tasks.len();
        if known > 0 && self.rng.chance(self.habits.after) {
            let at = self.rng.place(known);
            let id = self.cluster.checker.known.tasks.keys().nth(at).copied();
            task["after"] = json!([id]);
        }
        if self.rng.chance(self.habits.ttl) {
            task["ttl_ms"] = self.rng.between(20, 1500).into();
        }
        if self.group.1 && self.rng.chance(self.habits.groups * 4) {
            task["group"] = format!("g{}", self.group.0).into();
        }
        json!({ "enqueue": task })
    }

    /// Nothing goes wrong any more. Workers empty all queues.
    fn settle(&mut self) -> Result<(), String> {
        if self.group.1 {
            let group = format!("g{}", self.group.0);
            self.send_new(&json!({"close_group": {"group": group}}))?;
        }
        for name in [INTERVAL, LIST] {
            self.send_new(&json!({"delete_schedule": {"name": name}}))?;
        }
        for queue in ALL_QUEUES {
            let none = Value::Null;
            self.send_new(&json!({"configure": {"queue": queue, "concurrency": none,
                                                "key_concurrency": none, "rate": none,
                                                "key_rate": none}}))?;
            self.send_new(&json!({"resume": {"queue": queue}}))?;
        }
        self.send_new(&json!({"configure": {"queue": SHORT, "max_length": Value::Null}}))?;
        let mut idle = 0;
        while idle < 3 {
            self.cluster.clock_ms += 61_000;
            while self.cluster.wake()? {}
            let reserve = json!({"reserve": {"queues": ALL_QUEUES, "worker": "last", "max": 100,
                                             "lease_ms": 60_000, "wait_ms": 0}});
            let Response::Accepted(reply) = self.send_new(&reserve)? else {
                return Err("the last worker has no reply".to_owned());
            };
            let tasks = reply["tasks"].as_array().cloned().unwrap_or_default();
            idle = if tasks.is_empty() { idle + 1 } else { 0 };
            // Tasks that wait for a dead one go on, or die.
            for queue in ALL_QUEUES {
                self.send_new(&json!({"purge": {"queue": queue, "dead": true}}))?;
            }
            for task in tasks {
                self.send_new(&json!({"ack": {"id": task["id"], "token": task["token"]}}))?;
            }
        }
        self.check_stats()?;
        self.cluster.checker.check_all_ended()
    }
}
