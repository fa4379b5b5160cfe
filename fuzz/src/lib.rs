//! What the fuzz targets have in common: how an input is taken apart, and what has to hold.

mod damage;
mod holds;

pub use damage::{Damage, Input};
pub use holds::{decode, read_back, reads, same, secret, write};
