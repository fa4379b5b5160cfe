//! Admission: which datagrams go on to their client's handler.
//!
//! | file | what |
//! |---|---|
//! | `incoming.rs` | what a check is told of a datagram |
//! | `parts.rs` | parts of one check: in a row, with a name, in a list |
//! | `networks.rs`, `rate.rs` | ready-made parts: allowed and denied networks, a rate for each source prefix |
//! | `prefix.rs` | prefixes of source addresses, as others count by them too |
//! | `refusals.rs` | how often each part refused |

mod incoming;
mod networks;
mod parts;
mod prefix;
mod rate;
mod refusals;

use std::sync::Arc;

pub use incoming::Incoming;
pub use networks::Networks;
pub use parts::{And, Named};
pub(crate) use prefix::{PrefixMask, address_bits};
pub use rate::RatePerPrefix;
pub(crate) use refusals::Refusals;

/// The check that is in force, if there is one.
pub(crate) type InForce = Option<Arc<dyn Admission>>;

/// Decides which datagrams are admitted: [`ServerBuilder::admission`] sets it,
/// [`ServerHandle::set_admission`] replaces it.
///
/// It is asked for **each** datagram, also of a client whose handler runs, before the datagram is
/// parsed and before anything is allocated for it. So it limits conversations too. What it refuses
/// is dropped and counted.
///
/// It runs in the receive loop of each worker, so it must be quick, and must not wait. Where it
/// panics, which is logged, the datagram is refused.
///
/// A check is made of parts: [`Networks`], [`RatePerPrefix`], closures that return whether they
/// admit, and what you write yourself. Joined by [`and`](Self::and), or in a `Vec`, they are asked
/// in order, and the first that refuses is the one that counts.
///
/// ```
/// use postbox_server::{Admission, Incoming, IpNet, Networks, RatePerPrefix, Refused};
///
/// /// Nothing longer than a question is.
/// struct Questions;
///
/// impl Admission for Questions {
///     fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
///         if datagram.len() <= 512 { Ok(()) } else { Err(Refused::by("questions")) }
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let admission = Questions
///     .and(Networks::new().deny(["198.51.100.0/24".parse::<IpNet>()?]))
///     .and(RatePerPrefix::new(200, 400).ipv4_prefix(24));
/// # let _ = admission;
/// # Ok(())
/// # }
/// ```
///
/// [`ServerBuilder::admission`]: crate::ServerBuilder::admission
/// [`ServerHandle::set_admission`]: crate::ServerHandle::set_admission
pub trait Admission: Send + Sync {
    /// Whether this datagram is admitted.
    ///
    /// # Errors
    ///
    /// [`Refused`] names the part that refuses it.
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused>;

    /// This check, and then another, which is asked only if this one admits the datagram.
    fn and<B: Admission>(self, other: B) -> And<Self, B>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// This check, with a name of its own among the
    /// [refusals](crate::ServerHandle::refusals).
    fn named(self, part: &'static str) -> Named<Self>
    where
        Self: Sized,
    {
        Named { check: self, part }
    }
}

/// A datagram is not admitted. It names the part that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    part: &'static str,
}

impl Refused {
    /// Refused by the part of this name, which is one of few: refusals are
    /// [counted](crate::ServerHandle::refusals) by it.
    pub const fn by(part: &'static str) -> Self {
        Self { part }
    }

    /// The name of the part.
    pub const fn part(self) -> &'static str {
        self.part
    }
}
