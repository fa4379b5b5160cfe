use std::sync::{Mutex, PoisonError};

/// What is costly to make and can be used again: the tables of a compressor, hundreds of KiB.
///
/// As many are kept as were in use at once. None holds anything of a datagram: whoever takes one
/// resets it.
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Calls `work` with one that is not in use, or with a new one. If it panics, that one is gone.
    pub(crate) fn with<R, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
        work: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut item = kept.map_or_else(make, Ok)?;
        let result = work(&mut item);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(item);
        result
    }
}
