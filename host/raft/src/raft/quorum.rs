//! Majorities.

/// The smallest number that is more than half of `voters`.
#[must_use]
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The highest value that a majority has reached; the default value if there are no voters.
#[must_use]
pub fn reached<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    let voters = values.len();
    voters
        .checked_sub(majority(voters))
        .map_or_else(T::default, |place| values[place])
}

/// The result of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    /// A majority has granted the vote.
    Won,
    /// A majority is no longer possible.
    Lost,
    /// Votes that decide are missing.
    Pending,
}

/// The result of a vote among this number of `voters`.
#[must_use]
pub fn vote_result(voters: usize, granted: usize, denied: usize) -> VoteResult {
    if granted >= majority(voters) {
        VoteResult::Won
    } else if voters - denied < majority(voters) {
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
