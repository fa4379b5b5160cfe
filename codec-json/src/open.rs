use std::{io, mem};

use postbox_protocol::Append;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Error;
use serde_json::ser::Formatter;

use crate::compact::{Compact, Written, put_text};
use crate::plain::is_plain;

/// How the names of structs begin that stand for a number or a document as it is written, and whose
/// one field has the same name. (With serde_json's features `arbitrary_precision` and `raw_value`.)
const OF_SERDE_JSON: &str = "$serde_json::private::";

/// What was written of an array or object. An opening bracket is written with the first value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Begun,
    /// A struct that serde_json writes.
    OfSerdeJson,
}

impl State {
    /// What stands before the next value: `first` before the first one.
    #[inline]
    fn before<const N: usize>(
        &mut self,
        first: &'static [u8; N],
        others: &'static [u8; N],
    ) -> &'static [u8; N] {
        match mem::replace(self, Self::Begun) {
            Self::Empty => first,
            _ => others,
        }
    }
}

/// An array that is not closed yet; `VARIANT` tells whether it is the one value of an object.
pub(crate) struct Array<'a, 'b, const VARIANT: bool = false> {
    out: &'a mut Append<'b>,
    state: State,
}

impl<'a, 'b, const VARIANT: bool> Array<'a, 'b, VARIANT> {
    #[inline]
    pub(crate) fn new(out: &'a mut Append<'b>) -> Self {
        let state = State::Empty;
        Self { out, state }
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.out.append(self.state.before(b"[", b","));
        value.serialize(Compact(self.out))
    }

    #[inline]
    fn close(self) -> Written {
        if self.state == State::Empty {
            self.out.append(b"[");
        }
        self.out.append(if VARIANT { &b"]}"[..] } else { b"]" });
        Ok(())
    }
}

macro_rules! array {
    ($($trait:ident::$method:ident<$variant:literal>)*) => {
        $(
            impl $trait for Array<'_, '_, $variant> {
                type Ok = ();
                type Error = Error;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                    self.element(value)
                }

                #[inline]
                fn end(self) -> Written {
                    self.close()
                }
            }
        )*
    };
}

array! {
    SerializeSeq::serialize_element<false>
    SerializeTuple::serialize_element<false>
    SerializeTupleStruct::serialize_field<false>
    SerializeTupleVariant::serialize_field<true>
}

/// An object that is not closed yet; `VARIANT` tells whether it is the one value of another.
pub(crate) struct Object<'a, 'b, const VARIANT: bool = false> {
    out: &'a mut Append<'b>,
    state: State,
}

impl<'a, 'b, const VARIANT: bool> Object<'a, 'b, VARIANT> {
    #[inline]
    pub(crate) fn new(out: &'a mut Append<'b>) -> Self {
        let state = State::Empty;
        Self { out, state }
    }

    /// Begins a struct of this name.
    #[inline]
    pub(crate) fn named(out: &'a mut Append<'b>, name: &str, len: usize) -> Self {
        let mut object = Self::new(out);
        if len == 1 && name.starts_with(OF_SERDE_JSON) {
            object.state = State::OfSerdeJson;
        }
        object
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Written {
        if self.state == State::OfSerdeJson {
            let mut json = serde_json::Serializer::new(&mut *self.out);
            let mut whole = json.serialize_struct(key, 1)?;
            SerializeStruct::serialize_field(&mut whole, key, value)?;
            return SerializeStruct::end(whole);
        }
        if is_plain(key.as_bytes()) {
            let before = self.state.before(b"{\"", b",\"");
            self.out.append_between(before, key.as_bytes(), b"\":");
        } else {
            self.out.append(self.state.before(b"{", b","));
            put_text(self.out, key)?;
            self.out.append(b":");
        }
        value.serialize(Compact(self.out))
    }

    #[inline]
    fn close(self) -> Written {
        match self.state {
            State::OfSerdeJson => return Ok(()),
            State::Empty => self.out.append(b"{"),
            State::Begun => {}
        }
        self.out.append(if VARIANT { &b"}}"[..] } else { b"}" });
        Ok(())
    }
}

macro_rules! object {
    ($($trait:ident<$variant:literal>)*) => {
        $(
            impl $trait for Object<'_, '_, $variant> {
                type Ok = ();
                type Error = Error;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    key: &'static str,
                    value: &T,
                ) -> Written {
                    self.field(key, value)
                }

                #[inline]
                fn end(self) -> Written {
                    self.close()
                }
            }
        )*
    };
}

object!(SerializeStruct<false> SerializeStructVariant<true>);

impl SerializeMap for Object<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        self.out.append(self.state.before(b"{", b","));
        let mut json = serde_json::Serializer::with_formatter(&mut *self.out, OnlyKeys);
        SerializeMap::serialize_key(&mut json.serialize_map(None)?, key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.out.append(b":");
        value.serialize(Compact(self.out))
    }

    #[inline]
    fn end(self) -> Written {
        self.close()
    }
}

/// Formats the keys of a map, but not the brackets.
struct OnlyKeys;

impl Formatter for OnlyKeys {
    fn begin_object<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        Ok(())
    }
}
