//! Questions at a pace, whoever answers them, and what became of each.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use postbox_server::BoxError;

/// Clients, each with a port.
const CLIENTS: usize = 32;

/// How long no answer comes until the open questions are lost.
const SILENCE: Duration = Duration::from_secs(1);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Questions a second.
    pub(super) rate: u64,
    /// Of which so many may be open.
    pub(super) window: u64,
}

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) asked: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    /// The longest that an answer took.
    pub(super) longest: Duration,
}

/// A thread that asks.
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<Heard>>,
}

#[derive(Default)]
struct Shared {
    answered: AtomicU64,
    ends: AtomicBool,
}

impl Load {
    pub(super) fn start(server: SocketAddr, pace: Pace) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut asking = Asking::new(server, pace, Arc::clone(&shared))?;
        let thread = thread::spawn(move || asking.run());
        Ok(Self { shared, thread })
    }

    /// Waits for so many more answers, and so long.
    pub(super) fn wait_for_answers(&self, count: u64, pause: Duration) -> Result<(), BoxError> {
        let (begin, answered) = (Instant::now(), || {
            self.shared.answered.load(Ordering::Acquire)
        });
        let before = answered();
        thread::sleep(pause);
        while answered() < before + count {
            if self.thread.is_finished() || begin.elapsed() > PATIENCE {
                return Err("no answers come".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Asks no more, and waits for what is open.
    pub(super) fn end(self) -> Result<Heard, BoxError> {
        self.shared.ends.store(true, Ordering::Release);
        Ok(self.thread.join().map_err(|_| "the load panicked")??)
    }
}

/// A question by its number.
struct Asked {
    at: Instant,
    answers: u32,
}

struct Asking {
    clients: Vec<UdpSocket>,
    pace: Pace,
    shared: Arc<Shared>,
    asked: Vec<Asked>,
    answered: u64,
    heard: Heard,
}

impl Asking {
    fn new(server: SocketAddr, pace: Pace, shared: Arc<Shared>) -> io::Result<Self> {
        let client = |_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        Ok(Self {
            clients: (0..CLIENTS).map(client).collect::<io::Result<_>>()?,
            pace,
            shared,
            asked: Vec::new(),
            answered: 0,
            heard: Heard::default(),
        })
    }

    fn run(&mut self) -> io::Result<Heard> {
        let begin = Instant::now();
        while !self.shared.ends.load(Ordering::Acquire) {
            let due = (begin.elapsed().as_secs_f64() * self.pace.rate as f64) as u64;
            while self.count() < due && self.count() - self.answered < self.pace.window {
                self.ask()?;
                if self.count().is_multiple_of(64) {
                    self.hear()?; // behind its pace, it still takes the answers
                }
            }
            if !self.hear()? {
                thread::sleep(Duration::from_micros(200));
            }
        }
        let mut last = Instant::now();
        while self.answered < self.count() && last.elapsed() < SILENCE {
            match self.hear()? {
                true => last = Instant::now(),
                false => thread::sleep(Duration::from_millis(1)),
            }
        }
        // What is answered twice may come late.
        thread::sleep(Duration::from_millis(20));
        self.hear()?;
        self.heard.asked = self.count();
        self.heard.lost = self.count() - self.answered;
        Ok(std::mem::take(&mut self.heard))
    }

    fn count(&self) -> u64 {
        self.asked.len() as u64
    }

    fn ask(&mut self) -> io::Result<()> {
        let number = self.count();
        let client = &self.clients[number as usize % CLIENTS];
        loop {
            match client.send(&number.to_be_bytes()) {
                // An earlier one found nobody, and this one has not left yet.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                result => break result.map(drop)?,
            }
        }
        self.asked.push(Asked {
            at: Instant::now(),
            answers: 0,
        });
        Ok(())
    }

    /// Takes the answers that have come. Returns whether there were any.
    fn hear(&mut self) -> io::Result<bool> {
        let mut any = false;
        for client in &self.clients {
            let mut number = [0; 8];
            loop {
                match client.recv(&mut number) {
                    Ok(8) => {}
                    Ok(_) => return Err(io::Error::other("that is no answer")),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error),
                }
                any = true;
                let asked = self.asked.get_mut(u64::from_be_bytes(number) as usize);
                let asked = asked.ok_or_else(|| io::Error::other("nobody asked that"))?;
                asked.answers += 1;
                if asked.answers > 1 {
                    self.heard.twice += 1;
                    continue;
                }
                self.answered += 1;
                self.heard.longest = self.heard.longest.max(asked.at.elapsed());
            }
        }
        self.shared.answered.store(self.answered, Ordering::Release);
        Ok(any)
    }
}
