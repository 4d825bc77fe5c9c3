//! Plants each fault in turn, and prints the seed that detects it.

use oarlock_tests::sim::{self, Hunt, Planted};
use serde_json::{Value, json};

use crate::options::Options;
use crate::print::{bar, millis, number, time};
use crate::seeds::failure_json;

/// Whether all were caught.
pub(crate) fn hunt_all(options: &Options) -> bool {
    let bar = bar(Planted::ALL.len() as u64, "{bar:40} {pos} of {len}  {msg}");
    let mut hunts = Vec::new();
    for planted in Planted::ALL {
        bar.set_message(format!("{planted:?}"));
        hunts.push(sim::hunt(*planted, options.seeds()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if options.json {
        println!(
            "{}",
            Value::from(hunts.iter().map(to_json).collect::<Vec<_>>())
        );
    } else {
        print(&hunts);
    }
    hunts.iter().all(|hunt| hunt.caught.is_some())
}

fn print(hunts: &[Hunt]) {
    const HEAD: [&str; 5] = ["fault", "seed", "tried", "virtual time", "told by"];
    let rows: Vec<_> = hunts.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or(0)
    };
    let [fault, seed, tried, time] = [width(0), width(1), width(2), width(3)];
    let line = |[a, b, c, d, e]: [&str; 5]| {
        println!("{a:fault$}  {b:>seed$}  {c:>tried$}  {d:>time$}  {e}");
    };
    line(HEAD);
    for row in &rows {
        line(row.each_ref().map(String::as_str));
    }
    let caught = hunts.iter().filter(|hunt| hunt.caught.is_some()).count();
    println!("\n{caught} of {} planted faults are caught", hunts.len());
}

fn row(hunt: &Hunt) -> [String; 5] {
    let (seed, told) = match &hunt.caught {
        Some(failure) => (
            number(failure.config.seed),
            failure.violation.invariant.to_owned(),
        ),
        None => ("none".to_owned(), "MISSED".to_owned()),
    };
    [
        format!("{:?}", hunt.planted),
        seed,
        number(hunt.tried),
        time(hunt.virtual_time),
        told,
    ]
}

fn to_json(hunt: &Hunt) -> Value {
    json!({
        "fault": format!("{:?}", hunt.planted),
        "caught": hunt.caught.as_ref().map(|failure| failure_json(failure)),
        "tried": hunt.tried,
        "virtual_time_ms": millis(hunt.virtual_time),
    })
}
