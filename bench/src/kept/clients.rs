//! Clients that ask on and on, whatever becomes of the server: one thread, a socket for each.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use postbox_server::BoxError;

use super::question::{LAST, Question};

/// What became of a question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) step: u8,
    /// When it was answered for the first time, and by whom.
    pub(super) answered: Option<(Instant, u8)>,
    /// Which conversation it is of: the number of its first question.
    pub(super) conversation: u64,
}

/// All of them.
pub(super) struct Clients {
    sockets: Vec<Client>,
    /// How many unanswered questions each has.
    window: usize,
    /// They hold conversations of so many steps: 1 for single questions.
    steps: u8,
    pub(super) asked: HashMap<u64, Asked>,
    /// Answers to what was answered already.
    pub(super) doubles: u64,
    next: u64,
    random: fastrand::Rng,
}

struct Client {
    socket: UdpSocket,
    open: usize,
    /// The question that is asked next: its step and conversation.
    step: u8,
    conversation: u64,
    /// Not before.
    ready: Instant,
}

impl Clients {
    pub(super) fn new(
        server: SocketAddr,
        count: usize,
        window: usize,
        talk: bool,
    ) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for _ in 0..count {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            sockets.push(Client {
                socket,
                open: 0,
                step: 1,
                conversation: 0,
                ready: Instant::now(),
            });
        }
        Ok(Self {
            sockets,
            window,
            steps: if talk { LAST } else { 1 },
            asked: HashMap::new(),
            doubles: 0,
            next: 0,
            random: fastrand::Rng::with_seed(server.port().into()),
        })
    }

    /// Asks what may be asked, and takes what has been answered.
    pub(super) fn turn(&mut self, asks: bool) -> Result<(), BoxError> {
        for at in 0..self.sockets.len() {
            if asks {
                self.ask(at)?;
            }
            self.hear(at)?;
        }
        Ok(())
    }

    /// A time between these, in milliseconds.
    pub(super) fn some_time(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.random.u64(from..to))
    }

    /// Goes on so for a while.
    pub(super) fn turns(&mut self, time: Duration, asks: bool) -> Result<(), BoxError> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.turn(asks)?;
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) -> Result<(), BoxError> {
        let now = Instant::now();
        let client = &mut self.sockets[at];
        while client.open < self.window && client.ready <= now {
            let (number, step) = (self.next, client.step);
            if step == 1 {
                client.conversation = number;
            }
            let asked = Asked {
                at: now,
                step,
                answered: None,
                conversation: client.conversation,
            };
            match client.socket.send(&Question { number, step }.written(0)) {
                // The server has gone: it is not told of this one, nor of others.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
                result => drop(result?),
            }
            self.next += 1;
            client.open += 1;
            self.asked.insert(number, asked);
        }
        Ok(())
    }

    fn hear(&mut self, at: usize) -> Result<(), BoxError> {
        let mut buffer = [0; 64];
        loop {
            let client = &mut self.sockets[at];
            let len = match client.socket.recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let Question { number, step } = Question::read(&buffer[..len])?;
            let asked = self.asked.get_mut(&number).ok_or("nobody asked that")?;
            if asked.answered.is_some() {
                self.doubles += 1;
                continue;
            }
            asked.answered = Some((Instant::now(), buffer[1]));
            client.open -= 1;
            client.step = if step < self.steps { step + 1 } else { 1 };
            if self.steps > 1 {
                let pause = self.random.u64(..20);
                client.ready = Instant::now() + Duration::from_millis(pause);
            }
        }
    }

    /// The questions that were asked by then.
    pub(super) fn asked_by(&self, by: Instant) -> usize {
        self.asked.values().filter(|asked| asked.at <= by).count()
    }

    /// Those of them that are not answered.
    pub(super) fn unanswered(&self, by: Instant) -> usize {
        let open = |asked: &&Asked| asked.at <= by && asked.answered.is_none();
        self.asked.values().filter(open).count()
    }

    /// The conversations that had begun by then, and how many of them were finished.
    pub(super) fn conversations(&self, by: Instant) -> (usize, usize) {
        let mut all = HashMap::new();
        for asked in self.asked.values() {
            let (began, ended) = all.entry(asked.conversation).or_insert((false, false));
            *began |= asked.step == 1 && asked.at <= by;
            *ended |= asked.step == self.steps && asked.answered.is_some();
        }
        let begun = || all.values().filter(|(began, _)| *began);
        (begun().count(), begun().filter(|(_, ended)| *ended).count())
    }

    /// When the last answer came.
    pub(super) fn last_answer(&self) -> Option<Instant> {
        let answers = self.asked.values().filter_map(|asked| asked.answered);
        answers.map(|(at, _)| at).max()
    }

    /// How many were answered with this mark.
    pub(super) fn answered_by(&self, mark: u8) -> usize {
        let answers = self.asked.values().filter_map(|asked| asked.answered);
        answers.filter(|(_, by)| *by == mark).count()
    }
}
