//! The query string of `POST /v1/query`.

use task_queue_raft::Consistency;

/// Parses a query string that has at most a consistency level. `None` if it has anything else, `wait_index` included.
pub(super) fn consistency(query: &str) -> Option<Consistency> {
    match parameters(query)? {
        (consistency, None) => Some(consistency),
        (_, Some(_)) => None,
    }
}

/// Parses a query string: at most one `consistency=…` and one `wait_index=…`. `None` if it has anything else.
pub(super) fn parameters(query: &str) -> Option<(Consistency, Option<u64>)> {
    let (mut consistency, mut wait_index) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let is_repeated = match pair.split_once('=') {
            Some(("consistency", "linearizable")) => {
                consistency.replace(Consistency::Linearizable).is_some()
            }
            Some(("consistency", "stale")) => consistency.replace(Consistency::Stale).is_some(),
            Some(("wait_index", digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                wait_index.replace(digits.parse().ok()?).is_some()
            }
            _ => return None,
        };
        if is_repeated {
            return None;
        }
    }
    Some((consistency.unwrap_or_default(), wait_index))
}

#[cfg(test)]
mod tests {
    //! The parameters `consistency` and `wait_index`.

    use super::*;

    #[test]
    fn the_default_is_linearizable() {
        assert_eq!(consistency(""), Some(Consistency::Linearizable));
        assert_eq!(
            consistency("consistency=linearizable"),
            Some(Consistency::Linearizable)
        );
        assert_eq!(consistency("consistency=stale"), Some(Consistency::Stale));
    }

    #[test]
    fn other_parameters_are_malformed() {
        for query in [
            "consistency=",
            "consistency=Stale",
            "fresh=1",
            "consistency=stale&consistency=stale",
            "stale",
        ] {
            assert_eq!(consistency(query), None, "{query}");
        }
    }

    #[test]
    fn an_index_to_wait_for_is_parsed_and_takes_the_slow_path() {
        let parsed = parameters("wait_index=17&consistency=stale");
        assert_eq!(parsed, Some((Consistency::Stale, Some(17))));
        assert_eq!(
            parameters("wait_index=0"),
            Some((Consistency::Linearizable, Some(0)))
        );
        assert_eq!(consistency("wait_index=17"), None);
        for query in [
            "wait_index=",
            "wait_index=+1",
            "wait_index=x",
            "wait_index=99999999999999999999",
            "wait_index=1&wait_index=1",
        ] {
            assert_eq!(parameters(query), None, "{query}");
        }
    }
}
