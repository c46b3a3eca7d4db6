//! The module's memory before the snapshot: the allocator, and the exports that take the host's data.
//!
//! Invariant: only the host that makes the snapshot calls the exports `wisp-blob` and `wisp-load`. A component
//! does not export them, since its world does not name them.
#![allow(
    unsafe_code,
    reason = "the host passes addresses, and an allocator is unsafe code"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_arch = "wasm32")]
pub use exports::load;

/// An allocator that zeroes freed memory until [`ZeroingAllocator::stop_zeroing`] is called. Lifetime: the module.
#[derive(Debug)]
pub struct ZeroingAllocator<A> {
    inner: A,
    zeroing: AtomicBool,
}

/// The address and the length of an error text in UTF-8, which the host reads: two little-endian numbers of 32
/// bits. Lifetime: the module.
#[derive(Debug)]
#[repr(C)]
pub struct LoadFailure {
    address: *const u8,
    length: usize,
}

impl<A> ZeroingAllocator<A> {
    /// Returns an allocator that passes everything on to `inner`, and zeroes.
    pub const fn new(inner: A) -> ZeroingAllocator<A> {
        ZeroingAllocator {
            inner,
            zeroing: AtomicBool::new(true),
        }
    }

    /// Makes freeing as fast as that of the inner allocator.
    pub fn stop_zeroing(&self) {
        self.zeroing.store(false, Ordering::Relaxed);
    }

    fn is_zeroing(&self) -> bool {
        self.zeroing.load(Ordering::Relaxed)
    }
}

// SAFETY: memory comes from the inner allocator and returns to it with the layout that it was allocated with.
// Bytes are zeroed or copied only within an allocation of the caller that is about to be freed.
unsafe impl<A: GlobalAlloc> GlobalAlloc for ZeroingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is that of the inner allocator.
        unsafe { self.inner.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is that of the inner allocator.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if self.is_zeroing() {
            // SAFETY: the caller gives up this allocation of `layout.size()` bytes.
            unsafe { address.write_bytes(0, layout.size()) };
        }
        // SAFETY: the caller's promise is that of the inner allocator.
        unsafe { self.inner.dealloc(address, layout) }
    }

    /// Moves while memory is zeroed, since the inner allocator would move without zeroing.
    unsafe fn realloc(&self, address: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !self.is_zeroing() {
            // SAFETY: the caller's promise is that of the inner allocator.
            return unsafe { self.inner.realloc(address, layout, new_size) };
        }
        // SAFETY: the caller promises a size that is not zero, and that is valid with this alignment.
        let moved = unsafe {
            self.inner
                .alloc(Layout::from_size_align_unchecked(new_size, layout.align()))
        };
        if !moved.is_null() {
            // SAFETY: both allocations have at least these many bytes, and a new one overlaps no other. The old
            // one is the caller's, with this layout, and it is given up.
            unsafe {
                moved.copy_from_nonoverlapping(address, layout.size().min(new_size));
                self.dealloc(address, layout);
            }
        }
        moved
    }
}

#[cfg(target_arch = "wasm32")]
mod exports {
    use super::{LoadFailure, ZeroingAllocator};
    use crate::Blob;
    use dlmalloc::GlobalDlmalloc;
    use std::hint::black_box;
    use std::ptr;
    use std::sync::{Mutex, PoisonError};

    #[global_allocator]
    static ALLOCATOR: ZeroingAllocator<GlobalDlmalloc> = ZeroingAllocator::new(GlobalDlmalloc);

    /// The size of the free memory that the snapshot has at least, in bytes. A small request needs no more, and
    /// then does not have to grow the memory.
    const FREE_BYTES: usize = 512 << 10;

    /// The blobs that `wisp-blob` has received and `wisp-load` has not taken yet.
    static BLOBS: Mutex<Vec<Blob>> = Mutex::new(Vec::new());

    unsafe extern "C" {
        /// Runs the constructors of the module, which register the kernels and operators of tract. The linker
        /// defines it, and calls it in every export unless something calls it explicitly.
        fn __wasm_call_ctors();
    }

    #[unsafe(export_name = "wisp-blob")]
    extern "C" fn receive_blob(address: *const u8, length: usize) {
        // SAFETY: the host has allocated these bytes with `cabi_realloc`, written them, and leaves them to the
        // module, which never frees them.
        let blob = unsafe { std::slice::from_raw_parts(address, length) };
        let mut blobs = BLOBS.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.push(blob);
    }

    /// Calls `load_module` with the manifest that the host has written and with all blobs. It is what the
    /// export `wisp-load` does.
    ///
    /// # Safety
    ///
    /// The manifest is an allocation of this length with an alignment of 1, and nobody else uses it.
    pub unsafe fn load(
        address: *mut u8,
        length: usize,
        load_module: fn(&[u8], &[Blob]) -> Result<(), String>,
    ) -> *const LoadFailure {
        // SAFETY: this function runs once, before anything that the constructors initialise is used.
        unsafe { __wasm_call_ctors() };
        // SAFETY: the caller leaves the allocation to this function.
        let manifest = unsafe { Vec::from_raw_parts(address, length, length) };
        let blobs = std::mem::take(&mut *BLOBS.lock().unwrap_or_else(PoisonError::into_inner));
        let loaded = load_module(&manifest, &blobs);
        drop((manifest, blobs));
        ALLOCATOR.stop_zeroing();
        // Nothing is written there, so the snapshot contains none of it.
        drop(black_box(Vec::<u8>::with_capacity(FREE_BYTES)));
        match loaded {
            Ok(()) => ptr::null(),
            Err(text) => {
                let text = text.leak();
                Box::leak(Box::new(LoadFailure {
                    address: text.as_ptr(),
                    length: text.len(),
                }))
            }
        }
    }
}

/// Exports a function of type `fn(&[u8], &[Blob]) -> Result<(), String>` as `wisp-load`. It receives the
/// manifest and all blobs, and its error is the text that `wisp bundle` prints. Has no effect natively.
#[macro_export]
macro_rules! export_load {
    ($load:path) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[unsafe(export_name = "wisp-load")]
            extern "C" fn load(
                address: *mut u8,
                length: usize,
            ) -> *const $crate::memory::LoadFailure {
                // SAFETY: the host has allocated the manifest with `cabi_realloc`, and leaves it to the module.
                unsafe { $crate::memory::load(address, length, $load) }
            }
        };
    };
}

/// The custom backend of getrandom 0.3 and 0.4. A request that needs randomness from it fails.
#[cfg(all(target_arch = "wasm32", feature = "getrandom"))]
#[unsafe(no_mangle)]
extern "Rust" fn __getrandom_v03_custom(
    _destination: *mut u8,
    _length: usize,
) -> Result<(), getrandom::Error> {
    Err(getrandom::Error::UNSUPPORTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;
    use std::sync::Mutex;

    /// Remembers whether each freed allocation contained only zeros.
    struct Inspector {
        freed_as_zeros: Mutex<Vec<bool>>,
    }

    // SAFETY: everything is passed on to the allocator of the system.
    unsafe impl GlobalAlloc for Inspector {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's promise is that of the system's allocator.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
            // SAFETY: the caller gives up an allocation of this layout, which the tests have written.
            unsafe {
                let content = std::slice::from_raw_parts(address, layout.size());
                let zeros = content.iter().all(|byte| *byte == 0);
                self.freed_as_zeros.lock().unwrap().push(zeros);
                System.dealloc(address, layout);
            }
        }
    }

    fn inspected() -> ZeroingAllocator<Inspector> {
        ZeroingAllocator::new(Inspector {
            freed_as_zeros: Mutex::default(),
        })
    }

    /// Allocates 8 bytes, writes them, resizes them to `new_size`, frees them, and returns what they were
    /// before.
    fn resize(allocator: &ZeroingAllocator<Inspector>, new_size: usize) -> Vec<u8> {
        let layout = Layout::new::<[u8; 8]>();
        let new_layout = Layout::from_size_align(new_size, 1).unwrap();
        // SAFETY: the layouts are those of the allocations, and all bytes that are read have been written.
        unsafe {
            let address = allocator.alloc(layout);
            address.write_bytes(7, 8);
            let address = allocator.realloc(address, layout, new_size);
            let content = std::slice::from_raw_parts(address, new_size.min(8)).to_vec();
            address.write_bytes(9, new_size);
            allocator.dealloc(address, new_layout);
            content
        }
    }

    #[test]
    fn memory_that_is_freed_while_loading_is_zeroed_and_what_is_resized_moves() {
        for new_size in [3, 20] {
            let allocator = inspected();
            assert_eq!(resize(&allocator, new_size), vec![7; new_size.min(8)]);
            let freed = allocator.inner.freed_as_zeros.lock().unwrap();
            assert_eq!(*freed, [true, true], "new size {new_size}");
        }
    }

    #[test]
    fn memory_that_is_freed_after_loading_is_left_as_it_is() {
        let allocator = inspected();
        allocator.stop_zeroing();
        assert_eq!(resize(&allocator, 3), [7, 7, 7]);
        let freed = allocator.inner.freed_as_zeros.lock().unwrap();
        assert!(freed.iter().all(|zeros| !zeros));
    }
}
