//! H15: one address is not one user. C6: a question is handled once.

mod answers;
mod each;
mod keys;
mod next;
mod once;
mod stopping;
mod strangers;
