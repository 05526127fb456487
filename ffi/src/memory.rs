//! The memory of a process whose threads take turns at the same work.

/// Lets all threads of this process take their memory from one place, where the C library is glibc.
///
/// glibc gives threads places of their own, up to eight for each processor, and each keeps what it has held once. The
/// listing of an engine is taken in by whichever thread is free, so that in time every place has held the largest one: the
/// process takes many times what it uses. Threads that mostly wait lose nothing by one place.
///
/// For programs, not for libraries: it concerns the whole process. Call it before the first thread is started. A
/// `MALLOC_ARENA_MAX` or `GLIBC_TUNABLES` of the environment counts instead.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let chosen = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"];
        if chosen.iter().any(|name| std::env::var_os(name).is_some()) {
            return;
        }
        // SAFETY: it sets a number that the allocator reads when a thread allocates for the first time.
        let _set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    }
}
