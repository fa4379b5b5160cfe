//! Deadlines.

use std::time::Duration;

use tokio::time::Instant;

/// When something that begins now has to end. Beyond the clock's range is as good as never.
pub(crate) fn deadline(begin: Instant, limit: Duration) -> Instant {
    let end = begin.checked_add(limit);
    end.unwrap_or_else(|| begin + Duration::from_secs(u32::MAX.into()))
}
