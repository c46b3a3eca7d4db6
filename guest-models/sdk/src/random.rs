//! Random numbers, for models that grant them.
//!
//! ```toml
//! [handler]
//! grants = ["random"]
//! ```
//!
//! A model without the grant cannot be loaded with a handler that calls these functions. The numbers are those of
//! the host's operating system, and fit for keys. A generator that is seeded with [`u64()`] is faster if many numbers
//! are needed. A call by [`Handler::init`](crate::Handler::init) fails the load of the version: all requests would
//! share its numbers.
//!
//! Natively the numbers follow from the seed that a test sets:
//!
//! ```
//! use wisp_handler::{random, testing::Model};
//!
//! let dice = || random::u64() % 6 + 1;
//! let first = Model::new().with_seed(7).run(dice);
//! assert_eq!(Model::new().with_seed(7).run(dice), first);
//! ```
//!
//! # The crates `getrandom` and `rand`
//!
//! Libraries that need random numbers, such as `rand` and `uuid`, call the crate `getrandom`. With the feature
//! `getrandom` of this crate, its versions 0.3 and 0.4 have the numbers of this module, if `wisp build` compiles the
//! handler:
//!
//! ```toml
//! wisp-handler = { path = "sdk/wisp-handler", features = ["getrandom"] }
//! ```
//!
//! A handler with the feature imports random numbers even if nothing calls `getrandom`, so its model has to grant
//! them. Natively, `getrandom` has the numbers of the operating system.
//!
//! Many libraries want random numbers for the seeds of hash tables only, also for those that they build in
//! [`Handler::init`](crate::Handler::init). [`with_seed`] gives them such.
//!
//! For version 0.2, which compiles with its feature `custom`, the handler defines the source:
//!
//! ```ignore
//! fn source(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
//!     wisp_handler::random::fill(bytes);
//!     Ok(())
//! }
//!
//! #[cfg(target_arch = "wasm32")]
//! getrandom::register_custom_getrandom!(source);
//! ```

#[cfg(all(target_arch = "wasm32", feature = "getrandom"))]
mod getrandom_backend;
mod sequence;

pub(crate) use self::sequence::Sequence;

use crate::deployment;
use std::cell::Cell;

/// The number of bytes that are requested at once, which is within the limit of the host.
const CHUNK: usize = 1024;

thread_local! {
    /// The numbers while [`with_seed`] calls a function.
    static SEEDED: Cell<Option<Sequence>> = const { Cell::new(None) };
}

/// Restores the numbers of before when it is dropped.
struct Restore {
    previous: Option<Sequence>,
}

impl Drop for Restore {
    fn drop(&mut self) {
        SEEDED.set(self.previous);
    }
}

/// Fills a buffer with random bytes.
///
/// ```
/// let mut key = [0; 32];
/// wisp_handler::random::fill(&mut key);
/// assert_ne!(key, [0; 32]);
/// ```
pub fn fill(buffer: &mut [u8]) {
    if let Some(mut sequence) = SEEDED.get() {
        sequence.fill(buffer);
        return SEEDED.set(Some(sequence));
    }
    for chunk in buffer.chunks_mut(CHUNK) {
        chunk.copy_from_slice(&deployment::random_bytes(chunk.len()));
    }
}

/// Returns a random number.
///
/// ```
/// use wisp_handler::random;
///
/// assert_ne!(random::u64(), random::u64());
/// ```
pub fn u64() -> u64 {
    if let Some(mut sequence) = SEEDED.get() {
        let number = sequence.next();
        SEEDED.set(Some(sequence));
        return number;
    }
    deployment::random_u64()
}

/// Calls `call` with numbers that follow from the seed instead of those of the host.
///
/// It is for numbers that need not be secret, such as the seeds of hash tables that
/// [`Handler::init`](crate::Handler::init) builds, and for responses that have to be the same each time. In a component
/// it also applies to the crate `getrandom`, with the feature of this name. A generator that a library seeds
/// meanwhile and keeps, as `rand::rng` does, continues the same in every request.
///
/// ```
/// use wisp_handler::random;
///
/// let dice = || random::u64() % 6 + 1;
/// assert_eq!(random::with_seed(7, dice), random::with_seed(7, dice));
/// ```
pub fn with_seed<T>(seed: u64, call: impl FnOnce() -> T) -> T {
    let _restore = Restore {
        previous: SEEDED.replace(Some(Sequence::of(seed))),
    };
    call()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Model;

    fn bytes(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        bytes
    }

    #[test]
    fn buffers_of_any_length_are_filled() {
        Model::new().run(|| {
            assert!(bytes(0).is_empty());
            for length in [7, CHUNK, 3 * CHUNK + 5] {
                let bytes = bytes(length);
                assert!(bytes.windows(7).all(|window| window != [0; 7]), "{length}");
            }
        });
    }

    #[test]
    fn the_numbers_follow_from_the_seed() {
        let of_seed = |seed| Model::new().with_seed(seed).run(|| (u64(), bytes(9)));
        assert_eq!(of_seed(1), of_seed(1));
        assert_ne!(of_seed(1), of_seed(2));
        let unseeded = || Model::new().run(u64);
        assert_eq!(unseeded(), unseeded());
    }

    #[test]
    fn a_call_with_a_seed_leaves_the_numbers_of_the_host_as_they_are() {
        let numbers = || (u64(), bytes(9), u64());
        let expected = Model::new().run(numbers);
        let with_a_call = Model::new().run(|| {
            let first = u64();
            let seeded = with_seed(1, || (u64(), with_seed(2, u64), bytes(9)));
            assert_eq!(seeded.1, with_seed(2, u64));
            assert_eq!(with_seed(1, || (u64(), bytes(9))), (seeded.0, seeded.2));
            assert_ne!(seeded.0, seeded.1);
            (first, bytes(9), u64())
        });
        assert_eq!(with_a_call, expected);
    }

    #[test]
    fn a_panic_ends_the_numbers_of_a_seed() {
        let ended = std::panic::catch_unwind(|| with_seed(1, || panic!("on purpose")));
        assert!(ended.is_err());
        Model::new().run(|| assert_ne!(u64(), with_seed(1, u64)));
    }
}
