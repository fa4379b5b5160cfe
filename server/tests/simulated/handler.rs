//! The handler of a script: it does what it is asked to, and sees that it is treated as promised.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{BoxError, Client, RecvError, Requests};
use tokio::time::{Instant, sleep, timeout};

use super::packet::{Act, Packet};

/// What all handlers of a script know together.
pub(super) struct Service {
    known: Mutex<Known>,
    begin: Instant,
    /// The network keeps the order of what it delivers.
    in_order: bool,
    /// The network duplicates nothing.
    single: bool,
}

#[derive(Default)]
pub(super) struct Known {
    /// What happened, and when.
    pub(super) told: Vec<String>,
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
    /// How often what was seen.
    pub(super) seen: BTreeMap<&'static str, u64>,
    running: BTreeSet<SocketAddr>,
    pub(super) started: u64,
    pub(super) ended: u64,
    /// The number of the request that each client's handlers received last.
    last: BTreeMap<SocketAddr, u32>,
    received: BTreeSet<(SocketAddr, u32)>,
    answers: u32,
}

/// A run of the handler.
struct Running(Arc<Service>, SocketAddr);

impl Drop for Running {
    fn drop(&mut self) {
        let mut known = self.0.lock();
        known.running.remove(&self.1);
        known.ended += 1;
    }
}

impl Service {
    pub(super) fn new(in_order: bool, single: bool) -> Self {
        Self {
            known: Mutex::default(),
            begin: Instant::now(),
            in_order,
            single,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Adds to what happened.
    pub(super) fn tell(&self, what: &str) {
        let at = self.begin.elapsed().as_micros();
        self.lock().told.push(format!("{at} us: {what}"));
    }

    pub(super) fn add(&self, what: &'static str) {
        *self.lock().seen.entry(what).or_default() += 1;
    }

    /// How many handlers run.
    pub(super) fn running(&self) -> usize {
        self.lock().running.len()
    }

    fn begin(self: &Arc<Self>, client: SocketAddr) -> Running {
        let mut known = self.lock();
        known.started += 1;
        if !known.running.insert(client) {
            known.broken.push(format!("two runs for {client}"));
        }
        Running(Arc::clone(self), client)
    }

    /// Looks at what a receive returned. None ends the handler.
    fn received(
        &self,
        client: SocketAddr,
        received: Result<Bytes, RecvError>,
    ) -> Result<Option<Packet>, RecvError> {
        self.tell(&format!("{client} received {received:?}"));
        let bytes = match received {
            Ok(bytes) => bytes,
            Err(RecvError::Truncated { .. }) => {
                self.add("cut short");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(packet) = Packet::read(&bytes) else {
            self.add("not a packet any more");
            return Ok(None);
        };
        let last = self.lock().last.insert(client, packet.number);
        self.check_order(client, last, packet.number);
        let is_new = self.lock().received.insert((client, packet.number));
        if self.single && !is_new {
            self.broken(format!("{client}: {} twice", packet.number));
        }
        Ok(Some(packet))
    }

    /// What one sends to another arrives in order, if the network keeps it.
    pub(super) fn check_order(&self, who: SocketAddr, last: Option<u32>, number: u32) {
        let again = !self.single && last == Some(number);
        if self.in_order && !again && last >= Some(number) {
            self.broken(format!("{who}: {number} after {last:?}"));
        }
    }

    /// A promise was broken.
    pub(super) fn broken(&self, what: String) {
        self.lock().broken.push(what);
    }

    /// Answers, with the next of all numbers.
    async fn answer(&self, client: &Client<Bytes>, act: Act) -> Result<(), BoxError> {
        let number = {
            let mut known = self.lock();
            known.answers += 1;
            known.answers
        };
        let bytes = Packet { number, act }.bytes(0);
        Ok(client.send(Bytes::from(bytes)).await?)
    }

    /// The handler.
    pub(super) fn handle(
        self: Arc<Self>,
        client: Client<Bytes>,
        requests: Requests<Bytes>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let run = self.begin(client.remote_addr());
        async move {
            let run = run; // the whole of it, until the end
            let handled = self.run(&client, requests).await;
            self.tell(&format!("{} ends with {handled:?}", run.1));
            handled
        }
    }

    async fn run(
        self: &Arc<Self>,
        client: &Client<Bytes>,
        mut requests: Requests<Bytes>,
    ) -> Result<(), BoxError> {
        if self.lock().started.is_multiple_of(13) {
            return Ok(()); // its datagram is discarded
        }
        let addr = client.remote_addr();
        let Some(Packet { act, .. }) = self.received(addr, requests.recv().await)? else {
            return Ok(());
        };
        match act {
            Act::Echo => self.answer(client, act).await?,
            Act::Talk => {
                self.answer(client, act).await?;
                self.talk(client, requests).await?;
            }
            Act::Elsewhere => {
                let (service, client) = (Arc::clone(self), client.clone());
                self.add("a receive in another task");
                let elsewhere = tokio::spawn(async move { service.talk(&client, requests).await });
                elsewhere.await??;
            }
            Act::Select => {
                for _ in 0..3 {
                    let received = timeout(Duration::from_millis(15), requests.recv()).await;
                    let Ok(received) = received else {
                        self.add("a receive was dropped");
                        continue;
                    };
                    self.received(addr, received)?;
                    self.answer(client, act).await?;
                }
            }
            Act::Busy => {
                sleep(Duration::from_millis(40)).await;
                loop {
                    match requests.recv_timeout(Duration::ZERO).await {
                        Err(RecvError::TimedOut) => break,
                        received => self.received(addr, received)?,
                    };
                    self.answer(client, act).await?;
                }
            }
            Act::Push => {
                let (service, client) = (Arc::clone(self), client.clone());
                tokio::spawn(async move {
                    for _ in 0..3 {
                        sleep(Duration::from_millis(7)).await;
                        if service.answer(&client, Act::Push).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Act::Fail => {
                self.add("a handler failed");
                return Err("told to fail".into());
            }
            Act::Panic => {
                self.add("a handler panicked");
                panic!("told to panic");
            }
        }
        Ok(())
    }

    /// Goes on for a few requests, each within 80 ms.
    async fn talk(
        &self,
        client: &Client<Bytes>,
        mut requests: Requests<Bytes>,
    ) -> Result<(), BoxError> {
        for _ in 0..4 {
            let received = requests.recv_timeout(Duration::from_millis(80)).await;
            match self.received(client.remote_addr(), received) {
                Err(RecvError::TimedOut) => {
                    self.add("a conversation timed out");
                    return Ok(());
                }
                received => received?,
            };
            self.add("a conversation went on");
            self.answer(client, Act::Talk).await?;
        }
        // Without a limit of its own: until the server's idle timeout.
        self.received(client.remote_addr(), requests.recv().await)?;
        Ok(())
    }
}
