//! H1 to H19: what a handler is given, what it may do, and what its end means.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod addresses;
mod again;
mod answering;
mod arrival;
mod cancelled;
mod coalesced;
mod codecs;
mod computing;
mod context;
mod context_values;
mod deadlines;
mod elsewhere;
mod ends;
mod failing;
mod middleware;
mod outbox;
mod panicking;
mod postboxes;
mod receiving;
mod rude_wakers;
mod starts;
mod steered;
mod streams;
mod until;
mod wakers;
