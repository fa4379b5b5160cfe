//! What the programs that measure Postbox have in common.

pub mod document;
pub mod echo;

// Peers, load and accounts need Linux.
#[cfg(target_os = "linux")]
pub mod compare;
#[cfg(target_os = "linux")]
pub mod growth;
#[cfg(target_os = "linux")]
pub mod kept;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod mmsg;
#[cfg(target_os = "linux")]
pub mod peers;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
pub mod reliability;
mod report;
#[cfg(target_os = "linux")]
pub mod restarts;
#[cfg(target_os = "linux")]
pub mod stamps;

#[cfg(target_os = "linux")]
pub use mmsg::{coalesce, segment};
