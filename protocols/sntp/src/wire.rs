//! The datagrams of NTP: the header of RFC 5905 section 7.3, which SNTP shares.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, BytesMut};
use postbox::{BoxError, Serializer};

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// 1 to 4: a client of any version reads the same answer.
    pub version: u8,
    /// How often it asks, as a power of two. It gets that back, and nothing else is made of it.
    pub poll: u8,
    /// When it asked, by its own clock, or anything else that tells its answers apart. Today's
    /// clients send a random number.
    pub transmitted: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub question: Question,
    pub received: SystemTime,
    pub transmitted: SystemTime,
}

const HEADER_LEN: usize = 48;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;

/// A clock that is set by nobody better, at a stratum where any other is preferred.
const STRATUM: u8 = 10;
const REFERENCE_ID: &[u8; 4] = b"LOCL";
/// How exactly the clock is read, as a power of two: a microsecond.
const PRECISION: i8 = -20;
/// How far it may be off its reference, in seconds of 16 bits and as many of a fraction: 10 ms.
const ROOT_DISPERSION: u32 = 655;

#[derive(Debug)]
pub struct Ntp;

impl Serializer for Ntp {
    type Sent = Answer;
    type Received = Question;

    fn serialize(&self, answer: &Answer, datagram: &mut BytesMut) -> Result<(), BoxError> {
        let leap = 0; // no leap second is near, as far as is known here
        let received = timestamp(answer.received);
        datagram.put_u8(leap << 6 | answer.question.version << 3 | SERVER);
        datagram.put_u8(STRATUM);
        datagram.put_u8(answer.question.poll);
        datagram.put_i8(PRECISION);
        datagram.put_u32(0); // root delay: the reference is this clock
        datagram.put_u32(ROOT_DISPERSION);
        datagram.put_slice(REFERENCE_ID);
        datagram.put_u64(received >> 32 << 32); // it was set at this second
        datagram.put_u64(answer.question.transmitted);
        datagram.put_u64(received);
        datagram.put_u64(timestamp(answer.transmitted));
        Ok(())
    }

    /// Extensions and a digest may follow the header. They are not known here, and ignored.
    fn deserialize(&self, mut datagram: &[u8]) -> Result<Question, BoxError> {
        if datagram.len() < HEADER_LEN {
            return Err(format!("{} bytes are no header", datagram.len()).into());
        }
        let first = datagram.get_u8();
        let (version, mode) = (first >> 3 & 7, first & 7);
        // Servers that answered servers would never end, and the long answers to control messages
        // are what attackers want (modes 6 and 7).
        if mode != CLIENT {
            return Err(format!("mode {mode} is not a client's").into());
        }
        if !(1..=4).contains(&version) {
            return Err(format!("version {version} is not known").into());
        }
        datagram.advance(1);
        let poll = datagram.get_u8();
        datagram.advance(HEADER_LEN - 3 - 8);
        Ok(Question {
            version,
            poll,
            transmitted: datagram.get_u64(),
        })
    }
}

/// Seconds from 1900 to 1970: 70 years, 17 of them leap years.
const UNIX: u64 = (70 * 365 + 17) * 86_400;

/// Seconds since 1900, of which 32 bits remain, and as many bits of a fraction. From 2036 on they
/// count from there: a client takes the nearest moment.
fn timestamp(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs() + UNIX) << 32 | fraction
}
