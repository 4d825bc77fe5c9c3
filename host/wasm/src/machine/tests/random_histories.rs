//! Random histories of valid and failing commands. All machines that apply the same history end in the same state, and
//! in the state of a simple model, regardless of rollbacks, restores and queries.

use std::collections::BTreeMap;

use super::*;
use crate::guest::random::Random;

/// Dice with a seed.
struct Dice(Random);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        let bytes = self.0.bytes(8);
        u64::from_le_bytes(bytes.try_into().unwrap()) % sides
    }
}

/// A model of the faulty guest.
#[derive(Default)]
struct Model {
    value: i64,
    wake_at_ms: u64,
    keys: BTreeMap<String, (String, &'static str)>,
}

impl Model {
    fn command(&mut self, key: Option<&str>, command: &str) -> &'static str {
        if let Some((body, first)) = key.and_then(|key| self.keys.get(key)) {
            return if body == command { first } else { "key_reused" };
        }
        let outcome = self.execute(command);
        if let Some(key) = key
            && (outcome == "accepted" || outcome == "rejected")
        {
            self.keys
                .insert(key.to_owned(), (command.to_owned(), outcome));
        }
        outcome
    }

    fn execute(&mut self, command: &str) -> &'static str {
        let number = || -> i64 {
            let digits = |c: char| !c.is_ascii_digit() && c != '-';
            command.trim_matches(digits).parse().unwrap()
        };
        let name = command.split('"').nth(1).unwrap();
        match name {
            "add" => self.value += number(),
            "wake_at" => self.wake_at_ms = number() as u64,
            "refuse" => return "rejected",
            "trap" | "half" => return "trap",
            "spin" => return "out_of_fuel",
            "alloc" => return "out_of_memory",
            _ => {}
        }
        "accepted"
    }

    fn wake(&mut self, now_ms: u64) -> &'static str {
        if self.wake_at_ms != 0 && self.wake_at_ms <= now_ms {
            self.wake_at_ms = 0;
            self.value += 1;
        }
        "accepted"
    }
}

fn random_command(dice: &mut Dice, now_ms: u64) -> String {
    match dice.roll(40) {
        0..20 => add(dice.roll(100) as i64 - 50),
        20..24 => r#"{"refuse":{}}"#.to_owned(),
        24..27 => r#"{"trap":{}}"#.to_owned(),
        27..30 => r#"{"half":{"by":7}}"#.to_owned(),
        30 => r#"{"spin":{}}"#.to_owned(),
        31 => r#"{"alloc":{"mib":64}}"#.to_owned(),
        32..35 => r#"{"emit":{"topic":"t","payload":"p"}}"#.to_owned(),
        35..38 => format!(
            "{{\"wake_at\":{{\"time_ms\":{}}}}}",
            now_ms + dice.roll(5_000)
        ),
        _ => r#"{"draw":{"length":9}}"#.to_owned(),
    }
}

/// A random entry, and the outcomes of the model.
fn random_entry(
    dice: &mut Dice,
    model: &mut Model,
    now_ms: u64,
) -> (Vec<Bytes>, Vec<&'static str>) {
    let mut envelopes = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..dice.roll(9) {
        if dice.roll(10) == 0 {
            envelopes.push(Envelope::wake());
            expected.push(model.wake(now_ms));
            continue;
        }
        let command = random_command(dice, now_ms);
        let key = (dice.roll(3) == 0).then(|| format!("key-{}", dice.roll(6)));
        envelopes.push(Envelope::command(key.as_deref(), command.as_bytes()).unwrap());
        expected.push(model.command(key.as_deref(), &command));
    }
    (envelopes, expected)
}

fn play(seed: u64, entries: u64) {
    let limits = MachineLimits {
        fuel_per_command: 5_000_000,
        fuel_per_query: 10_000_000,
        memory_bytes: 3 << 20,
        ..limits()
    };
    let mut dice = Dice(Random::new(seed, 0));
    let mut model = Model::default();
    let mut plain = Node::with_limits(faulty(), limits);
    let mut restored = Node::with_limits(faulty(), limits);
    let mut queried = Node::with_limits(faulty(), limits);
    let mut replayed = Node::with_limits(faulty().without_memory_images(), limits);
    for _ in 0..entries {
        let now_ms = plain.next().time_ms;
        let (envelopes, expected) = random_entry(&mut dice, &mut model, now_ms);
        let outcomes = plain.entry(&envelopes);
        assert_eq!(codes(&outcomes), expected, "seed {seed}");
        assert_eq!(restored.entry(&envelopes), outcomes, "seed {seed}");
        assert_eq!(queried.entry(&envelopes), outcomes, "seed {seed}");
        assert_eq!(replayed.entry(&envelopes), outcomes, "seed {seed}");
        if dice.roll(8) == 0 {
            restored = restored.restored();
        }
        match dice.roll(6) {
            0 => assert!(queried.query(r#"{"trap":{}}"#).is_err()),
            1 => drop(queried.snapshot()),
            2 => assert_eq!(queried.value(), model.value.to_string()),
            _ => {}
        }
        let hash = plain.machine.state_hash();
        assert_eq!(restored.machine.state_hash(), hash, "seed {seed}");
        assert_eq!(queried.machine.state_hash(), hash, "seed {seed}");
        assert_eq!(replayed.machine.state_hash(), hash, "seed {seed}");
    }
    assert_eq!(plain.value(), model.value.to_string(), "seed {seed}");
    assert_eq!(plain.counts().wake_at_ms, model.wake_at_ms, "seed {seed}");
    assert_same(&mut plain, &mut restored);
    assert_same(&mut plain, &mut queried);
    assert_same(&mut plain, &mut replayed);
}

#[test]
fn machines_with_the_same_history_have_the_same_state() {
    for seed in 0..40 {
        play(seed, 25);
    }
}

#[test]
fn machines_have_the_same_state_after_a_long_history() {
    play(1_000, 400);
}
