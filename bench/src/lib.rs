//! What the programs that measure Postbox have in common.

pub mod document;
pub mod echo;
