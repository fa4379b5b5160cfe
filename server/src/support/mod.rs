//! Small helpers that know nothing of servers: clocks, panics of user code, lines of the log.

pub(crate) mod clock;
pub(crate) mod log;
pub(crate) mod panics;
mod thread_local;
mod throttle;

pub(crate) use thread_local::with_value;
pub(crate) use throttle::Throttle;
