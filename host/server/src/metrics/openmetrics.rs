//! The metrics in the format of OpenMetrics 1.0, for clients that ask for it.

/// The media type.
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The type without its parameters.
const TYPE: &str = "application/openmetrics-text";

/// Makes it from the text format of Prometheus. The families of counters are named without `_total`, and the text has an end.
pub(crate) fn of_text(text: &str) -> String {
    let mut result = String::with_capacity(text.len() + 16);
    let mut counters: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(counter) = line
            .strip_prefix("# TYPE ")
            .and_then(|line| line.strip_suffix(" counter"))
        {
            counters.push(counter);
        }
    }
    for line in text.lines() {
        let about = line.strip_prefix("# ").and_then(|line| {
            let (kind, rest) = line.split_once(' ')?;
            let (name, value) = rest.split_once(' ')?;
            Some((kind, name, value))
        });
        match about {
            Some((kind, name, value)) => {
                let family = if counters.contains(&name) {
                    name.strip_suffix("_total").unwrap_or(name)
                } else {
                    name
                };
                let value = value.replace('"', "\\\"");
                result.push_str(&format!("# {kind} {family} {value}\n"));
            }
            None => {
                result.push_str(line);
                result.push('\n');
            }
        }
    }
    result.push_str("# EOF\n");
    result
}

/// Whether a header `Accept` prefers this format to plain text (RFC 9110 §12.5.1).
pub(crate) fn is_preferred(accept: &str) -> bool {
    let weight = |wanted: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next()?;
            let q = parts.find_map(|part| part.strip_prefix("q="));
            let q = q.map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
            media.eq_ignore_ascii_case(wanted).then_some(q)
        });
        ranges.fold(0.0, f32::max)
    };
    let own = weight(TYPE);
    own > 0.0 && own >= weight("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_counters_have_no_total_and_the_text_ends() {
        let text = "# HELP a_total Counts \"a\".\n# TYPE a_total counter\na_total{b=\"c\"} 3\n# HELP d Is d.\n# TYPE d gauge\nd 1\n";
        assert_eq!(
            of_text(text),
            "# HELP a Counts \\\"a\\\".\n# TYPE a counter\na_total{b=\"c\"} 3\n# HELP d Is d.\n# TYPE d gauge\nd 1\n# EOF\n"
        );
    }

    #[test]
    fn the_header_of_prometheus_prefers_it_and_no_other_does() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=values;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert!(is_preferred(prometheus));
        assert!(is_preferred("application/openmetrics-text"));
        for other in [
            "",
            "*/*",
            "text/plain",
            "text/plain, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;q=0",
        ] {
            assert!(!is_preferred(other), "{other}");
        }
    }
}
