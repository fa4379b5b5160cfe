use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::extension;

const KIND: i8 = -1;
const NANOS_PER_SECOND: u32 = 1_000_000_000;
/// The seconds that fit beside 30 bits of nanoseconds.
const SECONDS_BITS: u32 = 34;

/// A moment as MessagePack's own extension has it: seconds since 1970, and nanoseconds.
///
/// It is sent in the shortest of the three forms (4, 8 or 12 bytes), and read from each. What other
/// languages call it: `msgpack.Timestamp` or `datetime` in Python, `Date` in JavaScript.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// use bytes::BytesMut;
/// use postbox_codec_msgpack::{MessagePackSerializer, Timestamp};
/// use postbox_protocol::Serializer;
///
/// let moment = Timestamp::from(UNIX_EPOCH + Duration::from_secs(1));
///
/// let serializer = MessagePackSerializer::<Timestamp>::new();
/// let mut datagram = BytesMut::new();
/// serializer.serialize(&moment, &mut datagram)?;
/// assert_eq!(&datagram[..], [0xd6, 0xff, 0, 0, 0, 1]);
/// assert_eq!(serializer.deserialize(&datagram)?, moment);
/// # Ok::<(), postbox_protocol::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// Returns the moment this many seconds after 1970 began (before, if negative), and these
    /// nanoseconds later.
    ///
    /// There is none with a whole second of nanoseconds.
    pub const fn new(seconds: i64, nanos: u32) -> Option<Self> {
        if nanos < NANOS_PER_SECOND {
            Some(Self { seconds, nanos })
        } else {
            None
        }
    }

    /// Returns the seconds since 1970 began, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds since the second began.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// Returns the moment on the system's clock, unless that does not reach so far.
    pub fn system_time(self) -> Option<SystemTime> {
        let seconds = Duration::from_secs(self.seconds.unsigned_abs());
        let begin = if self.seconds < 0 {
            UNIX_EPOCH.checked_sub(seconds)
        } else {
            UNIX_EPOCH.checked_add(seconds)
        };
        begin?.checked_add(Duration::from_nanos(self.nanos.into()))
    }

    fn from_data(kind: i8, data: &[u8]) -> Option<Self> {
        if kind != KIND {
            return None;
        }
        if let Ok(seconds) = data.try_into() {
            return Self::new(u32::from_be_bytes(seconds).into(), 0);
        }
        if let Ok(both) = data.try_into() {
            let both = u64::from_be_bytes(both);
            let seconds = both & ((1 << SECONDS_BITS) - 1);
            // Neither half is wider than it may be.
            return Self::new(seconds as i64, (both >> SECONDS_BITS) as u32);
        }
        let (nanos, seconds) = data.split_first_chunk()?;
        let seconds = seconds.try_into().ok()?;
        Self::new(i64::from_be_bytes(seconds), u32::from_be_bytes(*nanos))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        // No clock counts more seconds than an `i64`, of which there is one more before than after.
        match moment.duration_since(UNIX_EPOCH) {
            Ok(after) => Self {
                seconds: 0_i64.saturating_add_unsigned(after.as_secs()),
                nanos: after.subsec_nanos(),
            },
            Err(before) => {
                let before = before.duration();
                let seconds = 0_i64.saturating_sub_unsigned(before.as_secs());
                match before.subsec_nanos() {
                    0 => Self { seconds, nanos: 0 },
                    nanos => Self {
                        seconds: seconds.saturating_sub(1),
                        nanos: NANOS_PER_SECOND - nanos,
                    },
                }
            }
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (u64::try_from(self.seconds), u32::try_from(self.seconds)) {
            (_, Ok(seconds)) if self.nanos == 0 => {
                extension::write(KIND, &seconds.to_be_bytes(), serializer)
            }
            (Ok(seconds), _) if seconds >> SECONDS_BITS == 0 => {
                let both = u64::from(self.nanos) << SECONDS_BITS | seconds;
                extension::write(KIND, &both.to_be_bytes(), serializer)
            }
            _ => {
                let mut data = [0; 12];
                data[..4].copy_from_slice(&self.nanos.to_be_bytes());
                data[4..].copy_from_slice(&self.seconds.to_be_bytes());
                extension::write(KIND, &data, serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        extension::read(deserializer, Self::from_data)
    }
}
