use super::*;

/// A parser of one byte of length and as many bytes, with a planted bug.
struct Planted {
    bug: fn(&[u8]),
}

impl FuzzTarget for Planted {
    fn name(&self) -> &'static str {
        "planted"
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![b"\x03abc".to_vec()]
    }

    fn run(&mut self, input: &[u8]) -> String {
        let Some((length, rest)) = input.split_first() else {
            return "empty".to_owned();
        };
        if usize::from(*length) != rest.len() {
            return "another length".to_owned();
        }
        (self.bug)(rest);
        format!("{} bytes", rest.len())
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(60)
    }
}

fn run(bug: fn(&[u8]), seed: u64) -> FuzzReport {
    let mut target = Planted { bug };
    FuzzRunner::new(&mut target).run(FuzzPlan {
        executions: 200_000,
        time: None,
        seed,
    })
}

#[test]
fn a_planted_panic_is_found_with_its_input_and_again_with_the_same_seed() {
    quiet_panics();
    let bug: fn(&[u8]) = |rest| assert!(rest != b"ab", "planted");
    let first = run(bug, 1);
    let found = first.finding.expect("it is found");
    assert_eq!(found.input, b"\x02ab");
    assert!(found.what.contains("planted"), "{}", found.what);
    let again = run(bug, 1);
    assert_eq!(
        (again.executions, again.finding),
        (first.executions, Some(found.clone()))
    );
    let mut target = Planted { bug };
    assert_eq!(
        FuzzRunner::new(&mut target).run_once(&found.input),
        Err(found)
    );
}

#[test]
fn without_a_bug_all_executions_run_and_outcomes_are_counted() {
    let report = run(|_| {}, 2);
    assert_eq!((report.executions, report.finding), (200_000, None));
    // Empty, another length, and any number of bytes, whose digits don't count.
    assert_eq!(report.outcomes, 3);
}

#[test]
fn an_input_is_the_same_after_it_was_printed() {
    for bytes in [&b""[..], b"\x00\xff\x10"] {
        assert_eq!(from_hex(&to_hex(bytes)).as_deref(), Some(bytes));
    }
    assert_eq!((from_hex("0"), from_hex("0g")), (None, None));
}
