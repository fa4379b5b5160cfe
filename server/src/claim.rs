//! The right to serve: one call of `serve_forever` has it at a time.

use std::sync::Arc;

use crate::error::ServeError;
use crate::shared::{Shared, Stop};

/// The right to serve. Given back when dropped.
pub(crate) struct Claim {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: Stop,
    /// The servings are numbered from 1.
    pub(crate) number: u64,
}

pub(crate) fn claim(shared: &Arc<Shared>) -> Result<Claim, ServeError> {
    let (number, stop) = shared.begin_serving()?;
    Ok(Claim {
        shared: Arc::clone(shared),
        stop,
        number,
    })
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.end_serving(self.number);
    }
}
