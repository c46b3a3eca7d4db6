//! The split of requests between the two versions of a release. Pure arithmetic on 64-bit numbers.
//!
//! Each request has a position in the range of all 64-bit numbers, and the candidate gets the lowest part of the range.
//! A larger share therefore moves requests to the candidate and none back. The position of a request with a key is a
//! hash of the key; requests without one are spread evenly by a sequence.

/// The share of all requests, in the unit of shares.
pub const WHOLE: u32 = 10_000;

/// The odd number next to 2^64 divided by the golden ratio. Its multiples are spread evenly over the range.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns whether the request at `position` is part of the `share` of the candidate, in units of 1 / [`WHOLE`].
pub fn is_candidate(position: u64, share: u32) -> bool {
    let share = u128::from(share.min(WHOLE));
    u128::from(position) < (share << 64) / u128::from(WHOLE)
}

/// Returns the position of the requests with this key. Another `salt` gives other positions.
pub fn position_of_key(key: u64, salt: u64) -> u64 {
    // The finalizer of SplitMix64: each bit of the sum changes half of the bits of the result.
    let mut mixed = (key ^ salt).wrapping_add(GOLDEN);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Returns the position of the request with this number in the sequence of requests without a key.
pub fn position_in_sequence(number: u64) -> u64 {
    number.wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 7;

    fn candidates(share: u32) -> Vec<u64> {
        let keys = 0..10_000_u64;
        keys.filter(|key| is_candidate(position_of_key(*key, SALT), share))
            .collect()
    }

    #[test]
    fn no_share_gets_no_request_and_the_whole_gets_all() {
        for position in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(!is_candidate(position, 0));
            assert!(is_candidate(position, WHOLE));
            assert!(is_candidate(position, u32::MAX));
        }
    }

    #[test]
    fn a_share_gets_about_that_part_of_the_keys() {
        for share in [100, 1_000, 5_000, 9_000] {
            let found = candidates(share).len();
            let expected = usize::try_from(share).unwrap();
            assert!(found.abs_diff(expected) < 200, "{share}: {found}");
        }
    }

    #[test]
    fn a_larger_share_moves_keys_to_the_candidate_only() {
        let mut before = candidates(0);
        for share in [1, 100, 1_000, 5_000, 9_999, WHOLE] {
            let after = candidates(share);
            assert!(before.iter().all(|key| after.contains(key)), "{share}");
            before = after;
        }
        assert_eq!(before.len(), 10_000);
    }

    #[test]
    fn another_release_has_other_first_keys() {
        let first = |salt| {
            let mut keys = 0..u64::MAX;
            keys.find(|key| is_candidate(position_of_key(*key, salt), 10))
        };
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn requests_without_a_key_are_spread_evenly_at_all_times() {
        for share in [1_000, 2_500, 5_000] {
            let mut found = 0_u32;
            for number in 0..1_000_u32 {
                let position = position_in_sequence(u64::from(number));
                found += u32::from(is_candidate(position, share));
                let expected = (number + 1) * share / WHOLE;
                assert!(found.abs_diff(expected) <= 4, "{share} {number}: {found}");
            }
        }
    }
}
