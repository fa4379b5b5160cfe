//! The engine: a worker receives, decides who gets which datagram, polls handlers, and sends.
//!
//! A handler is polled where its datagram arrived, so nearly everything that it does happens on its
//! worker's own thread, without a lock: see [`current`].
//!
//! | file | what |
//! |---|---|
//! | `worker/` | the receive loop of one socket: receive, poll handlers, send |
//! | `dispatch/` | who gets which datagram: pure decisions, and the queue of a run |
//! | `delivery.rs` | datagrams in the receive buffer, and the segments of a coalesced one |
//! | `run.rs`, `run_recv.rs`, `run_send.rs` | one run of a handler, how it receives, how it sends |
//! | `current.rs` | what a worker gives to the handler that it polls on this thread |
//! | `outbox.rs`, `flush.rs` | encoded answers on their way out, and who waits until they left |
//! | `answers.rs` | answers that are kept, for repeated questions |
//! | `inject_queue.rs` | what other threads want of a worker |
//! | `worker_shared.rs` | what the runs of a worker have in common |
//! | `source_filter.rs` | which sources may be answered at all |
//! | `report/`, `watchdog.rs` | what a worker logs; which handler holds its worker |

mod answers;
mod current;
mod delivery;
mod dispatch;
mod flush;
mod inject_queue;
mod outbox;
mod report;
mod run;
mod run_recv;
mod run_send;
mod source_filter;
mod stamp;
mod watchdog;
mod worker;
mod worker_shared;

pub(crate) use inject_queue::InjectQueue;
pub(crate) use report::Report;
pub(crate) use source_filter::SourceFilter;
pub(crate) use stamp::BatchStamp;
pub(crate) use watchdog::{Heartbeat, Watchdog};
pub(crate) use worker::{Setup, run_worker};
pub(crate) use worker_shared::WorkerShared;
