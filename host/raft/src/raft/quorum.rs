//! Majorities.

/// How many of `voters` are more than half.
#[must_use]
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The highest value that a majority has reached; the default where there are no voters.
#[must_use]
pub fn reached<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    let voters = values.len();
    voters
        .checked_sub(majority(voters))
        .map_or_else(T::default, |place| values[place])
}

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    /// A majority said yes.
    Won,
    /// A majority can no longer say yes.
    Lost,
    /// Neither yet.
    Pending,
}

/// Counts a vote among `voters`.
#[must_use]
pub fn vote_result(voters: usize, yes: usize, no: usize) -> VoteResult {
    if yes >= majority(voters) {
        VoteResult::Won
    } else if voters - no < majority(voters) {
        VoteResult::Lost
    } else {
        VoteResult::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_more_than_half() {
        assert_eq!([1, 2, 3, 4, 5, 7].map(majority), [1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn what_a_majority_has_reached_is_the_lower_median() {
        assert_eq!(reached(vec![5]), 5);
        assert_eq!(reached(vec![9, 1]), 1);
        assert_eq!(reached(vec![9, 4, 1]), 4);
        assert_eq!(reached(vec![9, 8, 4, 1]), 4);
        assert_eq!(reached::<u64>(vec![]), 0);
    }

    #[test]
    fn a_vote_is_lost_once_a_majority_is_out_of_reach() {
        assert_eq!(vote_result(3, 2, 0), VoteResult::Won);
        assert_eq!(vote_result(3, 1, 1), VoteResult::Pending);
        assert_eq!(vote_result(3, 1, 2), VoteResult::Lost);
        assert_eq!(vote_result(4, 2, 2), VoteResult::Lost);
    }
}
