//! Tokens that were accepted, so that the signature of a client's token is verified once and not with each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::caller::Principal;
use super::token::{CheckedToken, TokenError};

/// Most tokens that are kept. Then all are forgotten: their next requests verify them again.
const MOST: usize = 1024;

/// Accepted tokens. It belongs to the keys and the revoked ids by which they were accepted, and ends with them.
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    accepted: Mutex<HashMap<String, CheckedToken>>,
}

impl TokenCache {
    /// The owner of a token. `now` in seconds since 1970. `check` is called for a token that was not accepted before.
    ///
    /// # Errors
    /// That of `check`, or the token has expired since.
    pub(crate) fn check(
        &self,
        token: &str,
        now: i64,
        check: impl FnOnce() -> Result<CheckedToken, TokenError>,
    ) -> Result<Arc<Principal>, TokenError> {
        let lock = || self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(token).cloned();
        if let Some(known) = known {
            if now < known.expires {
                return Ok(known.principal);
            }
            lock().remove(token);
            return Err(TokenError::Expired);
        }
        let checked = check()?;
        let principal = Arc::clone(&checked.principal);
        let mut accepted = lock();
        if accepted.len() >= MOST {
            accepted.clear();
        }
        accepted.insert(token.to_owned(), checked);
        Ok(principal)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::role::RoleSet;
    use super::*;

    fn accepted(expires: i64) -> CheckedToken {
        let principal = Principal::new("ann".to_owned(), RoleSet::all(), BTreeMap::new());
        CheckedToken {
            principal: Arc::new(principal.expect("a short name")),
            expires,
        }
    }

    #[test]
    fn an_accepted_token_is_verified_once_and_until_it_expires() {
        let cache = TokenCache::default();
        let first = cache.check("t", 5, || Ok(accepted(10)));
        let verify = || panic!("it was verified before");
        assert_eq!(cache.check("t", 9, verify), first);
        assert_eq!(cache.check("t", 10, verify), Err(TokenError::Expired));
        // Forgotten then.
        let again = cache.check("t", 10, || Err(TokenError::Expired));
        assert_eq!(again, Err(TokenError::Expired));
    }

    #[test]
    fn a_token_that_is_refused_is_verified_again() {
        let cache = TokenCache::default();
        let refused = cache.check("t", 5, || Err(TokenError::Signature));
        assert_eq!(refused, Err(TokenError::Signature));
        assert!(cache.check("t", 5, || Ok(accepted(10))).is_ok());
    }

    #[test]
    fn the_number_of_kept_tokens_has_a_limit() {
        let cache = TokenCache::default();
        for number in 0..3 * MOST {
            let checked = cache.check(&number.to_string(), 5, || Ok(accepted(10)));
            assert!(checked.is_ok());
            let kept = cache.accepted.lock().map_or(0, |accepted| accepted.len());
            assert!(kept <= MOST, "{kept}");
        }
    }
}
