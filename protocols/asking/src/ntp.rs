//! NTP (RFC 5905 section 7.3): what the time is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, BytesMut};
use postbox::{BoxError, DatagramProtocol, Serializer, UdpClient, matching};

use super::{Tally, times};

pub struct Question {
    /// How often it is asked, as a power of two. The answer repeats it.
    pub poll: u8,
    /// When it was asked, or rather a random number, as today's clients send: the answer repeats it
    /// as its originate timestamp.
    pub transmit: u64,
}

#[derive(Debug)]
pub struct Answer {
    pub stratum: u8,
    pub poll: u8,
    pub originate: u64,
    pub receive: u64,
    pub transmit: u64,
}

pub struct Ntp;

const HEADER_LEN: usize = 48;
const VERSION: u8 = 4;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;

impl Serializer for Ntp {
    type Sent = Question;
    type Received = Answer;

    fn serialize(&self, question: &Question, datagram: &mut BytesMut) -> Result<(), BoxError> {
        datagram.put_u8(VERSION << 3 | CLIENT);
        datagram.put_u8(0);
        datagram.put_u8(question.poll);
        datagram.put_bytes(0, HEADER_LEN - 3 - 8);
        datagram.put_u64(question.transmit);
        Ok(())
    }

    fn deserialize(&self, mut datagram: &[u8]) -> Result<Answer, BoxError> {
        if datagram.len() < HEADER_LEN {
            return Err(format!("{} bytes are no header", datagram.len()).into());
        }
        if datagram.get_u8() & 7 != SERVER {
            return Err("it is of no server".into());
        }
        let stratum = datagram.get_u8();
        let poll = datagram.get_u8();
        datagram.advance(24 - 3);
        Ok(Answer {
            stratum,
            poll,
            originate: datagram.get_u64(),
            receive: datagram.get_u64(),
            transmit: datagram.get_u64(),
        })
    }
}

/// From 1900 to 1970.
const UNIX: Duration = Duration::from_secs((70 * 365 + 17) * 86_400);

/// A question, and when it was asked: seconds since 1900, of which 32 bits remain.
struct Asked {
    poll: u8,
    at: u32,
}

fn asked(number: u32) -> Asked {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Asked {
        poll: (number % 14) as u8 + 4, // RFC 5905 has 4 to 17
        at: (now.unwrap_or_default() + UNIX).as_secs() as u32,
    }
}

fn question(asked: &Asked) -> Question {
    Question {
        poll: asked.poll,
        transmit: 0,
    }
}

fn is_own(asked: &Asked, answer: &Answer) -> Result<(), BoxError> {
    // Its clock is this host's: the question arrived when it was sent, or a repetition of it.
    let seconds = ((answer.receive >> 32) as u32).wrapping_sub(asked.at);
    match (1..16).contains(&answer.stratum)
        && answer.poll == asked.poll
        && seconds <= 30
        && answer.receive <= answer.transmit
    {
        true => Ok(()),
        false => Err(format!("that is another's, or of another clock: {answer:?}").into()),
    }
}

pub async fn ask(server: &str, questions: u32) -> Result<Tally, BoxError> {
    let client = UdpClient::connect(server, DatagramProtocol::new(Ntp)).await?;
    let client = client.asking(matching(
        |question: &mut Question, fresh| {
            question.transmit = fresh;
            fresh
        },
        |answer: &Answer| Some(answer.originate),
    ));
    let client = client.with_times(times());
    let mut tally = Tally::default();
    let questions = (0..questions).map(asked);
    tally.ask(&client, questions, question, is_own).await;
    Ok(tally)
}
