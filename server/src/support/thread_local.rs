//! Values of this thread that hold for a while.

use std::cell::Cell;
use std::thread::LocalKey;

/// Runs `code` with this value, and then sets the one that was before: also where `code` panics.
pub(crate) fn with_value<T>(
    cell: &'static LocalKey<Cell<usize>>,
    value: usize,
    code: impl FnOnce() -> T,
) -> T {
    struct Restore(&'static LocalKey<Cell<usize>>, usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(cell, cell.replace(value));
    code()
}
