//! The picture of a run: throughput and latency of both sides, as bars, drawn from the run's JSON.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

const WIDTH: f64 = 820.0;
const LEFT: f64 = 250.0;
const BAR: f64 = 14.0;
const GAP: f64 = 16.0;
/// Room for a figure behind the longest bar.
const RIGHT: f64 = 110.0;

/// One pair of bars.
struct Pair {
    name: String,
    ours: f64,
    theirs: f64,
}

/// Reads the JSON of a run and draws it.
///
/// # Errors
/// The file can't be read, or holds no run with both sides.
pub(crate) fn picture_of(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let run: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let lines = run["lines"]
        .as_array()
        .ok_or("it holds no lines; write it with --json")?;
    let loads: Vec<&Value> = lines
        .iter()
        .filter(|line| line["details"]["other"].is_object())
        .collect();
    if loads.is_empty() {
        return Err("it holds no load that both sides had; install etcd and run again".to_owned());
    }
    let pairs = |figure: &str, scale: f64| -> Vec<Pair> {
        let pair = |line: &&Value| Pair {
            name: line["name"].as_str().unwrap_or_default().to_owned(),
            ours: line["details"]["ours"][figure].as_f64().unwrap_or_default() * scale,
            theirs: line["details"]["other"][figure]
                .as_f64()
                .unwrap_or_default()
                * scale,
        };
        loads.iter().map(pair).collect()
    };
    Ok(draw(&[
        ("Requests per second (longer is better)", pairs("rate", 1.0)),
        (
            "Median latency, ms (shorter is better)",
            pairs("p50_us", 1e-3),
        ),
        (
            "99th percentile, ms (shorter is better)",
            pairs("p99_us", 1e-3),
        ),
    ]))
}

fn draw(charts: &[(&str, Vec<Pair>)]) -> String {
    let mut body = String::new();
    let mut y = 30.0;
    for (title, pairs) in charts {
        let _ = writeln!(
            body,
            "<text class=\"t\" x=\"10\" y=\"{y:.0}\">{title}</text>"
        );
        y += 14.0;
        let longest = pairs
            .iter()
            .flat_map(|pair| [pair.ours, pair.theirs])
            .fold(f64::MIN_POSITIVE, f64::max);
        for pair in pairs {
            let middle = y + BAR + 4.0;
            let _ = writeln!(
                body,
                "<text class=\"n\" x=\"{:.0}\" y=\"{middle:.0}\">{}</text>",
                LEFT - 10.0,
                pair.name
            );
            for (class, value) in [("o", pair.ours), ("e", pair.theirs)] {
                let width = (value / longest * (WIDTH - LEFT - RIGHT)).max(1.0);
                let _ = writeln!(
                    body,
                    "<rect class=\"{class}\" x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{BAR:.0}\"/>"
                );
                let _ = writeln!(
                    body,
                    "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                    LEFT + width + 6.0,
                    y + BAR - 3.0,
                    grouped(value)
                );
                y += BAR;
            }
            y += GAP;
        }
        y += 24.0;
    }
    let legend = y - 10.0;
    let _ = writeln!(
        body,
        "<rect class=\"o\" x=\"{LEFT:.0}\" y=\"{:.0}\" width=\"12\" height=\"12\"/><text x=\"{:.0}\" y=\"{legend:.0}\">Oarlock</text>\
         <rect class=\"e\" x=\"{:.0}\" y=\"{:.0}\" width=\"12\" height=\"12\"/><text x=\"{:.0}\" y=\"{legend:.0}\">etcd</text>",
        legend - 11.0,
        LEFT + 18.0,
        LEFT + 100.0,
        legend - 11.0,
        LEFT + 118.0
    );
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" role=\"img\">\n\
         <title>Oarlock and etcd under the same load</title>\n\
         <style>text{{font:12px system-ui,sans-serif;fill:#333}}.t{{font-weight:600;font-size:14px}}.n{{text-anchor:end}}\
         .o{{fill:#0f766e}}.e{{fill:#b4b8c0}}\
         @media(prefers-color-scheme:dark){{text{{fill:#ddd}}.o{{fill:#2dd4bf}}.e{{fill:#6b7280}}}}</style>\n{body}</svg>\n"
    )
}

/// A figure that people can read: 12,345 or 1.23.
fn grouped(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_can_be_read() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(1.234), "1.23");
    }

    #[test]
    fn each_pair_has_its_two_bars() {
        let pair = Pair {
            name: "puts".to_owned(),
            ours: 2.0,
            theirs: 1.0,
        };
        let svg = draw(&[("Rate", vec![pair])]);
        // One pair, and the legend.
        assert_eq!(svg.matches("<rect class=\"o\"").count(), 2);
        assert_eq!(svg.matches("<rect class=\"e\"").count(), 2);
    }
}
