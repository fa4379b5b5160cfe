//! One client whose requests leave as one message, and whose answers arrive as few: the kernel cuts
//! and joins them (`UDP_SEGMENT`, `UDP_GRO`).

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::generator::{BUFFER, is_on, is_passing};
use super::{Figures, Load};
use crate::mmsg::{self, Along, Batch};

/// The kernel cuts no message into more segments.
const SEGMENTS: usize = 64;

/// The longest payload over IPv4.
const LONGEST: usize = 65_507;

/// A socket with one client.
pub(crate) struct Bursts {
    socket: Socket,
    load: Load,
    incoming: Batch,
    outgoing: Batch,
    /// As many requests as fit into one message.
    requests: Vec<u8>,
    /// When the open ones were asked, in order.
    asked: VecDeque<Instant>,
}

impl Bursts {
    /// Opens a socket. Of the load, clients beyond the first do not take part.
    pub(crate) fn new(load: &Load) -> io::Result<Self> {
        let len = load.payload.len();
        if len == 0 || len > LONGEST {
            return Err(io::Error::other("segments cannot be as long as that"));
        }
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(BUFFER)?;
        mmsg::coalesce(&socket)?;
        let in_one = (LONGEST / len).min(SEGMENTS);
        let mut outgoing = Batch::new(1, LONGEST, Along::Segments);
        outgoing.set_remote(0, load.server);
        Ok(Self {
            socket,
            incoming: Batch::new(16, 65_535, Along::Segments),
            outgoing,
            requests: load.payload.repeat(in_one),
            asked: VecDeque::new(),
            load: load.clone(),
        })
    }

    /// Goes on for a while, until there is an answer at least.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Figures> {
        let mut figures = Figures::default();
        let begin = Instant::now();
        while is_on(begin, time, figures.answers) {
            let turn = Instant::now();
            while self
                .asked
                .front()
                .is_some_and(|asked| turn - *asked > self.load.timeout)
            {
                self.asked.pop_front();
                figures.lost += 1;
            }
            let done = self.send(turn)? + self.receive(&mut figures)?;
            if done > 0 {
                figures.busy += turn.elapsed();
            }
        }
        figures.elapsed = begin.elapsed();
        Ok(figures)
    }

    fn send(&mut self, now: Instant) -> io::Result<usize> {
        let len = self.load.payload.len();
        let mut in_all = 0;
        while self.asked.len() < self.load.window {
            let free = self.load.window - self.asked.len();
            let count = free.min(self.requests.len() / len);
            self.outgoing.set_payload(0, &self.requests[..count * len]);
            let segment = if count > 1 {
                u16::try_from(len).ok()
            } else {
                None
            };
            self.outgoing.set_segment(0, segment);
            match self.outgoing.send(&self.socket, 0, 1) {
                Ok(_) => self.asked.extend(std::iter::repeat_n(now, count)),
                Err(error) if is_passing(&error) => break,
                Err(error) => return Err(error),
            }
            in_all += count;
        }
        Ok(in_all)
    }

    fn receive(&mut self, figures: &mut Figures) -> io::Result<usize> {
        let received = match self.incoming.receive(&self.socket, false) {
            Ok(received) => received,
            Err(error) if is_passing(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        for slot in 0..received {
            let payload = self.incoming.payload(slot);
            let segment = self.incoming.segment(slot).unwrap_or(payload.len());
            for answer in payload.chunks(segment.max(1)) {
                match self.asked.pop_front() {
                    Some(asked) if answer == self.load.payload => {
                        figures.answers += 1;
                        figures.times.add((now - asked).as_nanos() as u64);
                    }
                    _ => figures.wrong += 1,
                }
            }
        }
        Ok(received)
    }
}
