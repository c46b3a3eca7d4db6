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
//! Libraries that need random numbers call the crate `getrandom`. `wisp build` compiles its versions 0.3 and 0.4 for
//! handlers. If something calls it, the handler has to define its source, once, with `getrandom = "0.4"` (or the
//! version that `cargo tree` shows) in the dependencies:
//!
//! ```ignore
//! /// The source of the crate `getrandom`.
//! #[cfg(target_arch = "wasm32")]
//! #[unsafe(no_mangle)]
//! unsafe extern "Rust" fn __getrandom_v03_custom(bytes: *mut u8, length: usize) -> Result<(), getrandom::Error> {
//!     // SAFETY: the crate passes memory of this length that may be written and is not initialized.
//!     let bytes = unsafe {
//!         bytes.write_bytes(0, length);
//!         std::slice::from_raw_parts_mut(bytes, length)
//!     };
//!     wisp_handler::random::fill(bytes);
//!     Ok(())
//! }
//! ```
//!
//! One definition is for both versions. Version 0.2 has a macro for it, and compiles with its feature `custom`:
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

use crate::deployment;

/// The number of bytes that are requested at once, which is within the limit of the host.
const CHUNK: usize = 1024;

/// Fills a buffer with random bytes.
///
/// ```
/// let mut key = [0; 32];
/// wisp_handler::random::fill(&mut key);
/// assert_ne!(key, [0; 32]);
/// ```
pub fn fill(buffer: &mut [u8]) {
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
    deployment::random_u64()
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
}
