//! The rules that every serializer keeps, as a suite that its tests run.
//!
//! The suite is not a fuzzer: it takes packets and documents that the format's author picks, and
//! tries each against every rule. Pick small ones that use every corner of the format, since each
//! byte of them is damaged in turn.
//!
//! | rule | what is tried |
//! |---|---|
//! | comes back | a packet is equal after it was sent and received |
//! | appends | what stands in the buffer is not changed, and not needed to read the datagram |
//! | keeps no state | datagrams mean the same in any order, and a second time |
//! | marks its end | every datagram cut short or with bytes left over is an error |
//! | survives damage | every datagram cut short or with one byte changed is an error or a value |
//! | refuses and goes on | what must be refused is, and harms nothing before or after it |
//! | is shared by threads | several threads use it at once |

mod call;
mod decoding;
mod encoding;
mod sharing;

use std::fmt;
use std::sync::Arc;

use crate::Serializer;

/// One run of the suite: a serializer and what to try it with.
///
/// # Examples
///
/// ```
/// use bytes::BytesMut;
/// use postbox_protocol::conformance::Conformance;
/// use postbox_protocol::{BoxError, Serializer};
///
/// /// ASCII text that ends with a line feed.
/// struct Line;
///
/// impl Serializer for Line {
///     type Sent = String;
///     type Received = String;
///
///     fn serialize(&self, packet: &String, datagram: &mut BytesMut) -> Result<(), BoxError> {
///         if !packet.is_ascii() || packet.contains('\n') {
///             return Err("not one line of ASCII".into());
///         }
///         datagram.extend_from_slice(packet.as_bytes());
///         datagram.extend_from_slice(b"\n");
///         Ok(())
///     }
///
///     fn deserialize(&self, datagram: &[u8]) -> Result<String, BoxError> {
///         match datagram.split_last() {
///             Some((b'\n', line)) if line.is_ascii() && !line.contains(&b'\n') => {
///                 Ok(String::from_utf8(line.to_vec())?)
///             }
///             _ => Err("not one line of ASCII".into()),
///         }
///     }
/// }
///
/// Conformance::new(Line)
///     .packets(["".to_owned(), "hello".to_owned()])
///     .refuses_packets(["two\nlines".to_owned()])
///     .refuses_datagrams(["two\nlines\n"])
///     .check();
/// ```
#[must_use = "nothing is tried before `check`"]
pub struct Conformance<Near: Serializer, Far> {
    /// Writes the packets.
    near: Near,
    /// Reads what `near` wrote.
    far: Far,
    packets: Vec<Near::Sent>,
    refused_packets: Vec<Near::Sent>,
    refused_datagrams: Vec<Vec<u8>>,
    refuses_nothing: bool,
    end_marked: bool,
    padding: Vec<u8>,
}

impl<S, Packet> Conformance<Arc<S>, Arc<S>>
where
    S: Serializer<Sent = Packet, Received = Packet>,
{
    /// Returns the run for a serializer that reads what it writes.
    pub fn new(serializer: S) -> Self {
        let serializer = Arc::new(serializer);
        Self::between(Arc::clone(&serializer), serializer)
    }
}

impl<Near, Far> Conformance<Near, Far>
where
    Near: Serializer,
    Far: Serializer<Sent = Near::Received, Received = Near::Sent>,
{
    /// Returns the run in which `far` reads what `near` writes.
    ///
    /// For the other direction, run it with the two exchanged.
    pub fn between(near: Near, far: Far) -> Self {
        Self {
            near,
            far,
            packets: Vec::new(),
            refused_packets: Vec::new(),
            refused_datagrams: Vec::new(),
            refuses_nothing: false,
            end_marked: true,
            padding: Vec::new(),
        }
    }

    /// Adds packets that can be sent.
    pub fn packets(mut self, packets: impl IntoIterator<Item = Near::Sent>) -> Self {
        self.packets.extend(packets);
        self
    }

    /// Adds packets that the format cannot say: serializing them is an error.
    pub fn refuses_packets(mut self, packets: impl IntoIterator<Item = Near::Sent>) -> Self {
        self.refused_packets.extend(packets);
        self
    }

    /// Adds datagrams that are not documents of the format: deserializing them is an error.
    pub fn refuses_datagrams(
        mut self,
        datagrams: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self {
        self.refused_datagrams
            .extend(datagrams.into_iter().map(|bytes| bytes.as_ref().to_vec()));
        self
    }

    /// Says that in this run there is nothing to refuse: the format can say every packet, and every
    /// datagram says one.
    pub fn refuses_nothing(mut self) -> Self {
        self.refuses_nothing = true;
        self
    }

    /// Says that the format does not mark its own end, so that a datagram cut short, or with bytes
    /// left over, may be taken for another packet.
    pub fn without_end_mark(mut self) -> Self {
        self.end_marked = false;
        self
    }

    /// Says which bytes after a document the format ignores, such as white space.
    pub fn ignoring_after(mut self, padding: impl AsRef<[u8]>) -> Self {
        self.padding.extend_from_slice(padding.as_ref());
        self
    }

    /// Tries every rule.
    ///
    /// # Panics
    ///
    /// Panics at the first rule that is broken, and says which, and on what; and if there is no
    /// packet to try, or nothing to refuse without [`refuses_nothing`](Self::refuses_nothing).
    pub fn check(&self)
    where
        Near::Sent: PartialEq + fmt::Debug + Sync,
    {
        assert!(
            !self.packets.is_empty(),
            "no packets were given: nothing was tried"
        );
        assert!(
            self.refuses_nothing
                || !self.refused_packets.is_empty()
                || !self.refused_datagrams.is_empty(),
            "nothing to refuse was given: say `refuses_nothing` if there is none"
        );
        self.comes_back();
        self.appends();
        self.keeps_no_state();
        self.marks_its_end();
        self.survives_damage();
        self.refuses_and_goes_on();
        self.is_shared_by_threads();
    }
}

impl<Near, Far> fmt::Debug for Conformance<Near, Far>
where
    Near: Serializer<Sent: fmt::Debug>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance")
            .field("packets", &self.packets)
            .finish_non_exhaustive()
    }
}
