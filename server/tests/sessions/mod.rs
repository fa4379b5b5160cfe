//! H15: one address is not one user.

mod answers;
mod each;
mod keys;
mod next;
mod stopping;
mod strangers;
