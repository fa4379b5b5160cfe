//! The datagrams, in network byte order: a byte that says which one, and its fields.

use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postbox::{BoxError, Serializer};

/// How many may play: a snapshot of them all fits in one packet, wherever it goes.
pub const SEATS: usize = 200;
/// The longest datagram that passes nearly everywhere in one piece: 1,280 bytes of IPv6, without
/// the headers.
pub const LONGEST: usize = 1232;
const _: () = assert!(Snapshot::HEAD + SEATS * Snapshot::EACH <= LONGEST);
/// The longest datagram of a player.
pub const LONGEST_OF_PLAYER: usize = 15;

/// Shows that its holder hears what is sent to its address.
pub type Token = u64;

/// What a player says. Each has the token, so that nobody else can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToServer {
    /// Asks for a seat, or, with a token that is not valid, for one that is.
    Join(Token),
    /// Where the player goes from now on. The newest number counts.
    Steer {
        token: Token,
        number: u32,
        direction: (i8, i8),
    },
    Leave(Token),
}

impl ToServer {
    pub fn token(&self) -> Token {
        match *self {
            Self::Join(token) | Self::Steer { token, .. } | Self::Leave(token) => token,
        }
    }
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToPlayer {
    /// Join with this one.
    Token(Token),
    /// This is your number.
    Welcome(u16),
    Full,
    Snapshot(Snapshot),
    /// The server stops. Sent again until the player leaves.
    Bye,
}

/// Where everybody is, as it is sent: encoded once, and then shared by all who get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(Bytes);

impl Snapshot {
    /// The kind, the tick, and how many follow.
    const HEAD: usize = 7;
    /// A player's number, and where it is.
    const EACH: usize = 6;

    pub fn new(tick: u32, players: impl Iterator<Item = (u16, (u16, u16))>) -> Self {
        let mut bytes = BytesMut::with_capacity(LONGEST);
        bytes.put_u8(4);
        bytes.put_u32(tick);
        bytes.put_u16(0);
        let mut count = 0_u16;
        for (id, (x, y)) in players {
            bytes.put_u16(id);
            bytes.put_u16(x);
            bytes.put_u16(y);
            count += 1;
        }
        bytes[5..Self::HEAD].copy_from_slice(&count.to_be_bytes());
        Self(bytes.freeze())
    }

    fn read(datagram: &[u8]) -> Result<Self, BoxError> {
        let mut head = datagram.get(5..).ok_or("a snapshot without a head")?;
        let count = usize::from(head.try_get_u16()?);
        if datagram.len() != Self::HEAD + count * Self::EACH {
            return Err(format!("{} bytes with {count} players", datagram.len()).into());
        }
        Ok(Self(Bytes::copy_from_slice(datagram)))
    }

    pub fn tick(&self) -> u32 {
        (&self.0[1..]).get_u32()
    }

    /// The number of each player, and where it is.
    pub fn players(&self) -> impl ExactSizeIterator<Item = (u16, (u16, u16))> {
        let each = self.0[Self::HEAD..].chunks_exact(Self::EACH);
        each.map(|mut player| {
            let id = player.get_u16();
            (id, (player.get_u16(), player.get_u16()))
        })
    }
}

/// What one side says and the other reads.
pub trait Message: Sized + 'static {
    fn write(&self, datagram: &mut BytesMut);

    /// # Errors
    ///
    /// If it is no such message.
    fn read(datagram: &[u8]) -> Result<Self, BoxError>;
}

impl Message for ToServer {
    fn write(&self, datagram: &mut BytesMut) {
        match *self {
            Self::Join(token) => {
                datagram.put_u8(1);
                datagram.put_u64(token);
            }
            Self::Steer {
                token,
                number,
                direction: (x, y),
            } => {
                datagram.put_u8(2);
                datagram.put_u64(token);
                datagram.put_u32(number);
                datagram.put_i8(x);
                datagram.put_i8(y);
            }
            Self::Leave(token) => {
                datagram.put_u8(3);
                datagram.put_u64(token);
            }
        }
    }

    fn read(mut datagram: &[u8]) -> Result<Self, BoxError> {
        let (kind, token) = (datagram.try_get_u8()?, datagram.try_get_u64()?);
        let message = match kind {
            1 => Self::Join(token),
            2 => Self::Steer {
                token,
                number: datagram.try_get_u32()?,
                direction: (datagram.try_get_i8()?, datagram.try_get_i8()?),
            },
            3 => Self::Leave(token),
            kind => return Err(format!("a player says nothing of the kind {kind}").into()),
        };
        end(datagram).map(|()| message)
    }
}

impl Message for ToPlayer {
    fn write(&self, datagram: &mut BytesMut) {
        match self {
            Self::Token(token) => {
                datagram.put_u8(1);
                datagram.put_u64(*token);
            }
            Self::Welcome(id) => {
                datagram.put_u8(2);
                datagram.put_u16(*id);
            }
            Self::Full => datagram.put_u8(3),
            Self::Snapshot(Snapshot(bytes)) => datagram.put_slice(bytes),
            Self::Bye => datagram.put_u8(5),
        }
    }

    fn read(datagram: &[u8]) -> Result<Self, BoxError> {
        let mut rest = datagram;
        let message = match rest.try_get_u8()? {
            1 => Self::Token(rest.try_get_u64()?),
            2 => Self::Welcome(rest.try_get_u16()?),
            3 => Self::Full,
            4 => return Snapshot::read(datagram).map(Self::Snapshot),
            5 => Self::Bye,
            kind => return Err(format!("the server says nothing of the kind {kind}").into()),
        };
        end(rest).map(|()| message)
    }
}

fn end(rest: &[u8]) -> Result<(), BoxError> {
    match rest.len() {
        0 => Ok(()),
        more => Err(format!("{more} bytes too many").into()),
    }
}

/// The server's is `Format<ToPlayer, ToServer>`, a player's the other way round.
#[derive(Debug)]
pub struct Format<Sent, Received>(PhantomData<fn(Sent) -> Received>);

impl<Sent, Received> Format<Sent, Received> {
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<Sent, Received> Default for Format<Sent, Received> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Sent: Message, Received: Message> Serializer for Format<Sent, Received> {
    type Sent = Sent;
    type Received = Received;

    fn serialize(&self, packet: &Sent, datagram: &mut BytesMut) -> Result<(), BoxError> {
        packet.write(datagram);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Received, BoxError> {
        Received::read(datagram)
    }
}
