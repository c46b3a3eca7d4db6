//! The source of the crate `getrandom`, in its versions 0.3 and 0.4: the numbers of [`random`](super).
//!
//! The crate calls a function by name, which takes a pointer. So this is the only file of the guests with unsafe
//! code. Compiled for Wasm only.
#![allow(
    unsafe_code,
    reason = "`getrandom` calls its custom backend through an unsafe function"
)]

use std::slice;

/// Fills memory with random bytes.
///
/// # Safety
/// `bytes` points to `length` bytes that can be written, which may be uninitialized, and to which there is no other
/// reference during the call.
// Both versions of `getrandom` declare the function with an error type of their own, a `NonZeroI32` in both.
// It never returns one.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(
    bytes: *mut u8,
    length: usize,
) -> Result<(), getrandom::Error> {
    // SAFETY: the caller guarantees that the memory can be written. `getrandom` passes the pointer and the length of
    // a `&mut [MaybeUninit<u8>]`, to which there is no other reference. It is initialized before it becomes a `&mut [u8]`.
    let bytes = unsafe {
        bytes.write_bytes(0, length);
        slice::from_raw_parts_mut(bytes, length)
    };
    super::fill(bytes);
    Ok(())
}
