//! What travels in a script: a datagram knows whether it is as it was sent.

use super::sessions;

/// What a request asks the handler to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Echo,
    /// Go on receiving, and answer each.
    Talk,
    /// Go on in a receive in another task.
    Elsewhere,
    /// Begin receives and drop them.
    Select,
    /// Be busy for a while, then take what is queued.
    Busy,
    /// Send more from another task, when the handler has ended.
    Push,
    Fail,
    Panic,
}

const ACTS: [Act; 8] = [
    Act::Echo,
    Act::Talk,
    Act::Elsewhere,
    Act::Select,
    Act::Busy,
    Act::Push,
    Act::Fail,
    Act::Panic,
];

/// Four bytes of a number, one of what it is about, one of its session, four of a checksum, and bytes
/// without meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    /// The number of a request among its client's, or of an answer among all answers.
    pub(super) number: u32,
    pub(super) act: Act,
    /// See [`sessions`].
    pub(super) session: u8,
}

/// Where the session is.
const SESSION: usize = 5;

/// The session byte of a datagram that has one, whatever else it is.
pub(super) fn session(datagram: &[u8]) -> Option<u8> {
    datagram.get(SESSION).copied()
}

/// The bytes of the number of a datagram that has one.
pub(super) fn number(datagram: &[u8]) -> Option<&[u8]> {
    datagram.get(..4)
}

impl Packet {
    /// How long it is without padding.
    pub(super) const LEN: usize = 10;

    pub(super) fn random(random: &mut fastrand::Rng, number: u32) -> Self {
        // Half of them are usual.
        let act = match random.bool() {
            true => Act::Echo,
            false => ACTS[random.usize(..ACTS.len())],
        };
        let session = random.u8(..sessions::COUNT);
        Self {
            number,
            act,
            session,
        }
    }

    pub(super) fn bytes(self, padding: usize) -> Vec<u8> {
        let mut bytes = self.number.to_be_bytes().to_vec();
        bytes.push(ACTS.iter().position(|act| *act == self.act).unwrap() as u8);
        bytes.push(self.session);
        bytes.extend([0; 4]);
        bytes.resize(Self::LEN + padding, 0xAA);
        let check = checksum(&bytes);
        bytes[6..10].copy_from_slice(&check.to_be_bytes());
        bytes
    }

    /// None if it was changed on its way.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let check = bytes.get(6..10)?;
        if check != checksum(bytes).to_be_bytes() {
            return None;
        }
        Some(Self {
            number: u32::from_be_bytes(bytes[..4].try_into().unwrap()),
            act: ACTS[usize::from(bytes[4])],
            session: bytes[SESSION],
        })
    }
}

/// FNV-1a of all but the checksum, and of the length: every change of one byte changes it.
fn checksum(bytes: &[u8]) -> u32 {
    let (before, behind) = (&bytes[..6], &bytes[10..]);
    let len = (bytes.len() as u32).to_be_bytes();
    let all = before.iter().chain(behind).chain(&len);
    all.fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
