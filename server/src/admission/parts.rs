//! Parts of one admission check.

use std::sync::Arc;

use super::{Admission, Incoming, Refused};

/// A closure returns whether the datagram is admitted. What it refuses is counted as `check`,
/// unless it is [named](Admission::named) otherwise.
impl<F> Admission for F
where
    F: Fn(&Incoming<'_>) -> bool + Send + Sync,
{
    #[inline]
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
        if self(datagram) {
            Ok(())
        } else {
            Err(Refused::by("check"))
        }
    }
}

/// One check that several servers share, or that its user keeps.
impl<A: Admission + ?Sized> Admission for Arc<A> {
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
        (**self).admit(datagram)
    }
}

/// All of them have to admit the datagram. They are asked in order, up to the first that refuses
/// it. None at all admit everything.
impl<A: Admission> Admission for Vec<A> {
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
        self.iter().try_for_each(|part| part.admit(datagram))
    }
}

/// Two checks in a row: see [`Admission::and`].
#[derive(Debug, Clone)]
pub struct And<A, B>(pub(super) A, pub(super) B);

impl<A: Admission, B: Admission> Admission for And<A, B> {
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
        self.0.admit(datagram)?;
        self.1.admit(datagram)
    }
}

/// A check with another name: see [`Admission::named`].
#[derive(Debug, Clone)]
pub struct Named<A> {
    pub(super) check: A,
    pub(super) part: &'static str,
}

impl<A: Admission> Admission for Named<A> {
    fn admit(&self, datagram: &Incoming<'_>) -> Result<(), Refused> {
        let admitted = self.check.admit(datagram);
        admitted.map_err(|_| Refused::by(self.part))
    }
}
