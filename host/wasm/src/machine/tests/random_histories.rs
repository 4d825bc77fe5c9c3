//! Random histories of good and bad commands: every machine that applies one ends the same, however often it failed,
//! was restored or was asked in between; and it ends as a simple model says.

use std::collections::BTreeMap;

use super::*;
use crate::random::Random;

/// Dice that fall the same for a seed.
struct Dice(Random);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        let bytes = self.0.bytes(8);
        u64::from_le_bytes(bytes.try_into().unwrap()) % sides
    }
}

/// What the faulty guest should do.
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
        let said = self.carry_out(command);
        if let Some(key) = key
            && (said == "accepted" || said == "rejected")
        {
            self.keys.insert(key.to_owned(), (command.to_owned(), said));
        }
        said
    }

    fn carry_out(&mut self, command: &str) -> &'static str {
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

/// One entry, and the outcomes that the model gives.
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
    let mut asked = Node::with_limits(faulty(), limits);
    let mut replayed = Node::with_limits(faulty().without_memory_images(), limits);
    for _ in 0..entries {
        let now_ms = plain.next().time_ms;
        let (envelopes, expected) = random_entry(&mut dice, &mut model, now_ms);
        let outcomes = plain.entry(&envelopes);
        assert_eq!(codes(&outcomes), expected, "seed {seed}");
        assert_eq!(restored.entry(&envelopes), outcomes, "seed {seed}");
        assert_eq!(asked.entry(&envelopes), outcomes, "seed {seed}");
        assert_eq!(replayed.entry(&envelopes), outcomes, "seed {seed}");
        if dice.roll(8) == 0 {
            restored = restored.restored();
        }
        match dice.roll(6) {
            0 => assert!(asked.ask(r#"{"trap":{}}"#).is_err()),
            1 => drop(asked.snapshot()),
            2 => assert_eq!(asked.value(), model.value.to_string()),
            _ => {}
        }
        let hash = plain.machine.state_hash();
        assert_eq!(restored.machine.state_hash(), hash, "seed {seed}");
        assert_eq!(asked.machine.state_hash(), hash, "seed {seed}");
        assert_eq!(replayed.machine.state_hash(), hash, "seed {seed}");
    }
    assert_eq!(plain.value(), model.value.to_string(), "seed {seed}");
    assert_eq!(plain.counts().wake_at_ms, model.wake_at_ms, "seed {seed}");
    assert_same(&mut plain, &mut restored);
    assert_same(&mut plain, &mut asked);
    assert_same(&mut plain, &mut replayed);
}

#[test]
fn machines_with_the_same_history_are_the_same() {
    for seed in 0..40 {
        play(seed, 25);
    }
}

#[test]
fn so_they_are_after_a_long_history() {
    play(1_000, 400);
}
