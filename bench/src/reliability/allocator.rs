//! The allocator of the C library.

#![allow(
    unsafe_code,
    reason = "a function of the C library, which no safe crate has"
)]

/// Has it give back to the system what is free: of itself it does so only at the end of its heap.
/// Other C libraries than glibc have no such function.
pub(super) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, may be called from any thread, and touches nothing that is in use.
    let _is_less = unsafe { libc::malloc_trim(0) };
}
