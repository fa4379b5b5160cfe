//! A packet of a type that the compiler does not see: what holds one is compiled once, not once for
//! each type.

use std::any::Any;
use std::cell::Cell;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rows::Packet;

/// A packet of any type. Read, it is of the type that this thread erased last.
pub(crate) struct Erased(Box<dyn AnyPacket>);

/// What [`Packet`] asks for, without the type.
trait AnyPacket: Any + erased_serde::Serialize + fmt::Debug {
    fn cloned(&self) -> Erased;
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<T: Packet> AnyPacket for T {
    fn cloned(&self) -> Erased {
        Erased(Box::new(self.clone()))
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}

type Read = fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Erased, erased_serde::Error>;

thread_local! {
    static READ: Cell<Option<Read>> = const { Cell::new(None) };
}

fn read<T: Packet>(
    deserializer: &mut dyn erased_serde::Deserializer<'_>,
) -> Result<Erased, erased_serde::Error> {
    let packet: T = erased_serde::deserialize(deserializer)?;
    Ok(Erased(Box::new(packet)))
}

impl Erased {
    /// From now on, all are read as this type.
    pub(crate) fn new<T: Packet>(packet: T) -> Self {
        READ.set(Some(read::<T>));
        Self(Box::new(packet))
    }
}

impl Serialize for Erased {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        erased_serde::serialize(&*self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Erased {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = READ.get().expect("one was made before");
        let mut deserializer = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
        read(&mut deserializer).map_err(D::Error::custom)
    }
}

impl Clone for Erased {
    fn clone(&self) -> Self {
        self.0.cloned()
    }
}

impl PartialEq for Erased {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl fmt::Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
