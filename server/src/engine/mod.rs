//! The engine: a worker receives, decides who gets which datagram, polls handlers, and sends.
//!
//! A handler is polled where its datagram arrived, so nearly everything that it does happens on its
//! worker's own thread, without a lock: see [`current`].

mod answer;
mod current;
mod delivery;
mod dispatch;
mod flush;
mod outbox;
mod receive;
mod remote_queue;
mod report;
mod run;
mod source;
mod watchdog;
mod worker;
mod worker_shared;

pub(crate) use remote_queue::RemoteQueue;
pub(crate) use report::Report;
pub(crate) use watchdog::{Beat, Watchdog};
pub(crate) use worker::{Setup, run};
pub(crate) use worker_shared::WorkerShared;
