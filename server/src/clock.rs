//! Instants.

use std::time::Duration;

use tokio::time::Instant;

/// When something ends that may take so long. Beyond the clock's range is as good as never.
pub(crate) fn end(begin: Instant, limit: Duration) -> Instant {
    let end = begin.checked_add(limit);
    end.unwrap_or_else(|| begin + Duration::from_secs(u32::MAX.into()))
}
