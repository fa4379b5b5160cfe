//! The service around the handlers: its life, its handle, what `service_init` is given.

mod bounds;
mod client_tasks;
mod drain;
mod exit;
mod handle;
mod measured;
#[cfg(feature = "metrics")]
mod metrics;
mod pings;
mod prefixes;
mod scope;
mod shared;
mod stats;
mod stop;
mod tasks;
#[cfg(feature = "metrics")]
mod times;
mod worker_state;

pub(crate) use bounds::{NoRoom, Totals};
pub(crate) use client_tasks::ClientTasks;
pub(crate) use drain::{Drain, DrainKind, DrainRequest};
pub(crate) use exit::ExitActions;
pub use handle::ServerHandle;
pub(crate) use handle::{awaits_shutdown, polling_handlers};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub(crate) use pings::{Ping, add as add_pings, drop_all as drop_pings};
pub(crate) use prefixes::Source;
pub use scope::{ServiceScope, ShutdownToken};
pub(crate) use shared::{Claim, Phase, Shared, Status};
pub(crate) use stats::Counters;
pub use stats::{Stat, StatKind, Stats};
use stop::Stop;
pub use tasks::{Spawner, TaskResult};
pub(crate) use tasks::{Tasks, log_failed};
pub(crate) use worker_state::WorkerState;
