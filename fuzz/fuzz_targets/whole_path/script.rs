//! A script: what happens on the network, one step after the other.

use std::net::SocketAddr;

use postbox_fuzz::{Damage, Input};

use crate::handler::{Ask, Then};

/// The first bytes say which server, then each step begins with a byte of its own.
pub(crate) struct Script<'a> {
    input: Input<'a>,
    steps: usize,
}

/// One step, with the address that the datagram says it comes from.
pub(crate) enum Step<'a> {
    Datagram(SocketAddr, Vec<u8>),
    /// As one, each of so many bytes but the last.
    Coalesced(SocketAddr, Vec<u8>, usize),
    Ask(SocketAddr, Ask),
    /// Cut or changed on its way.
    Damaged(SocketAddr, Ask, Damage<'a>),
    /// So many times as one, without so many bytes of the last.
    Burst(SocketAddr, Ask, u8, u8),
    /// From the good client, which is answered.
    Good,
    /// Everybody does what there is to do.
    Settle,
    /// So many milliseconds pass.
    Pass(u64),
    Block(bool),
    FailSends(SocketAddr, bool),
    FailReceives(usize),
}

/// Longer datagrams are truncated.
pub(crate) const RECEIVE: usize = 2048;
const MOST_STEPS: usize = 64;

/// Where datagrams come from. The last number of the address tells what the handler does.
const SOURCES: [&str; 16] = [
    "127.0.0.10:2000",
    "127.0.0.11:2000",
    "127.0.0.12:2000",
    "127.0.0.12:2001",
    "127.0.0.13:2000",
    "[2001:db8::1]:2000",
    "[::ffff:127.0.0.14]:2000",
    "127.0.0.9:2000", // not admitted
    "127.0.0.8:2000",
    "127.0.0.7:2000",
    "127.0.0.6:2000",
    "127.0.0.10:0", // these are never answered
    "224.0.0.1:2000",
    "255.255.255.255:2000",
    "0.0.0.0:2000",
    "[::ffff:224.0.0.1]:2000",
];

/// Who is not admitted, by the last number of its address.
pub(crate) const REFUSED: u8 = 9;

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let (input, steps) = (Input(bytes), 0);
        Self { input, steps }
    }

    /// Which of the servers it is for.
    pub(crate) fn server(&mut self) -> usize {
        self.input.byte().into()
    }

    fn source(&mut self) -> SocketAddr {
        let source = SOURCES[usize::from(self.input.byte()) % SOURCES.len()];
        source.parse().expect("an address")
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.input.byte();
        self.input.take(len.into()).to_vec()
    }

    fn ask(&mut self) -> Ask {
        let small = u16::from(self.input.byte()) * 8;
        let then = match self.input.byte() % 13 {
            0 => Then::Answer,
            1 => Then::Silent,
            2 => Then::Fail,
            3 => Then::Panic,
            4 => Then::Drop,
            5 => Then::Talk(small),
            6 => Then::Elsewhere(small),
            7 => Then::Push(small),
            8 => Then::Long(u32::from(small) * 40),
            9 => Then::Often(small as u8),
            10 => Then::TrySend(small as u8),
            11 => Then::Flush,
            _ => Then::Wait(small),
        };
        Ask {
            id: small.into(),
            then,
            from: (small % 3 == 0).then(|| ([192, 0, 2, 1], small).into()),
            more: [("more".to_owned(), Some(0.5)), (String::new(), None)]
                .into_iter()
                .take(usize::from(small) / 8 % 3)
                .collect(),
        }
    }
}

impl<'a> Iterator for Script<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if self.input.0.is_empty() || self.steps == MOST_STEPS {
            return None;
        }
        self.steps += 1;
        Some(match self.input.byte() % 16 {
            0 => Step::Datagram(self.source(), self.bytes()),
            1 => {
                let (source, len) = (self.source(), self.input.u16());
                Step::Datagram(source, self.input.take(len.into()).to_vec())
            }
            2 => Step::Datagram(self.source(), Vec::new()),
            3 => {
                let (source, filled) = (self.source(), self.input.byte());
                let len = RECEIVE + usize::from(self.input.byte());
                Step::Datagram(source, vec![filled; len])
            }
            4 => {
                let (source, segment) = (self.source(), self.input.byte());
                let most = usize::from(segment % 64); // nobody coalesces to none
                Step::Coalesced(source, self.bytes(), most.max(1))
            }
            5 | 6 => Step::Ask(self.source(), self.ask()),
            7 => {
                let (source, ask) = (self.source(), self.ask());
                Step::Damaged(source, ask, self.input.damage())
            }
            8 => {
                let (source, ask) = (self.source(), self.ask());
                Step::Burst(source, ask, self.input.byte() % 12 + 2, self.input.byte())
            }
            9 | 10 => Step::Good,
            11 => Step::Settle,
            12 => Step::Pass(u64::from(self.input.byte()) * 8),
            13 => Step::Block(self.input.byte() & 1 == 0),
            14 => Step::FailSends(self.source(), self.input.byte() & 1 == 0),
            _ => Step::FailReceives(usize::from(self.input.byte() % 3)),
        })
    }
}
