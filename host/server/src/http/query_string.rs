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
mod tests;
