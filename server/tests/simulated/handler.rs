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
use super::sessions::Sessions;

/// So long some handlers wait before they receive anything.
pub(super) const LATE: Duration = Duration::from_millis(5);

/// What all handlers of a script know together.
pub(super) struct Service {
    known: Mutex<Known>,
    begin: Instant,
    /// The network keeps the order of what it delivers.
    in_order: bool,
    /// The network duplicates nothing.
    single: bool,
    sessions: Sessions,
}

#[derive(Default)]
pub(super) struct Known {
    /// What happened, and when.
    pub(super) told: Vec<String>,
    /// Promises that were broken.
    pub(super) broken: Vec<String>,
    /// How often what was seen.
    pub(super) seen: BTreeMap<&'static str, u64>,
    /// How many handlers run for each.
    running: BTreeMap<Client<Bytes>, usize>,
    /// The conversations that have received something.
    talking: BTreeSet<(SocketAddr, u8)>,
    pub(super) started: u64,
    pub(super) ended: u64,
    /// The number of the request that each conversation's handlers received last.
    last: BTreeMap<(SocketAddr, u8), u32>,
    received: BTreeSet<(SocketAddr, u32)>,
    /// The questions that were handled in this serving.
    handled: BTreeSet<(SocketAddr, u32)>,
    answers: u32,
}

/// A run of the handler.
struct Running(Arc<Service>, Client<Bytes>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut known = self.0.lock();
        known.ended += 1;
        let runs = known.running.get_mut(&self.1).unwrap();
        *runs -= 1;
        if *runs == 0 {
            known.running.remove(&self.1);
        }
    }
}

/// A run that is the only one of its conversation.
struct Talking<'a>(&'a Service, (SocketAddr, u8));

impl Drop for Talking<'_> {
    fn drop(&mut self) {
        self.0.lock().talking.remove(&self.1);
    }
}

impl Service {
    pub(super) fn new(in_order: bool, single: bool, sessions: Sessions) -> Self {
        Self {
            known: Mutex::default(),
            begin: Instant::now(),
            in_order,
            single,
            sessions,
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

    /// Another serving knows nothing of the answers of the one before.
    pub(super) fn forget(&self) {
        self.lock().handled.clear();
    }

    /// How many handlers run.
    pub(super) fn running(&self) -> usize {
        self.lock().running.values().sum()
    }

    fn begin(self: &Arc<Self>, client: Client<Bytes>) -> Running {
        let most = self.sessions.most_runs(!client.to_string().contains('#'));
        let mut known = self.lock();
        known.started += 1;
        let runs = known.running.entry(client.clone()).or_default();
        *runs += 1;
        let runs = *runs;
        if runs > most {
            known.broken.push(format!("{runs} runs for {client}"));
        }
        if runs > 1 {
            *known
                .seen
                .entry("runs of one address side by side")
                .or_default() += 1;
        }
        drop(known);
        Running(Arc::clone(self), client)
    }

    /// This run has received something of a conversation.
    fn talks(&self, addr: SocketAddr, conversation: u8) -> Talking<'_> {
        let others = (addr, u8::MIN)..=(addr, u8::MAX);
        if self.lock().talking.range(others).next().is_some() {
            self.add("sessions side by side");
        }
        if !self.lock().talking.insert((addr, conversation)) {
            self.broken(format!(
                "two runs for conversation {conversation} of {addr}"
            ));
        }
        Talking(self, (addr, conversation))
    }

    /// The receive of a run that has received its one datagram.
    fn nothing_more(&self, received: &Result<Bytes, RecvError>) {
        self.add("nothing more for a datagram for itself");
        if !matches!(received, Err(RecvError::Closed)) {
            self.broken(format!("a run for one datagram received {received:?}"));
        }
    }

    /// Looks at what a receive returned, of this session if there was one before. None ends the
    /// handler.
    fn received(
        &self,
        client: &Client<Bytes>,
        session: Option<u8>,
        received: Result<Bytes, RecvError>,
    ) -> Result<Option<Packet>, RecvError> {
        let addr = client.remote_addr();
        self.tell(&format!("{addr} received {received:?}"));
        let bytes = match received {
            Ok(bytes) => bytes,
            Err(RecvError::Truncated { .. }) => {
                self.add("cut short");
                return Ok(None);
            }
            Err(error) => {
                let closed = matches!(error, RecvError::Closed);
                if closed && client.is_draining() && !client.is_closing() {
                    self.add("a hand over told a receive");
                }
                return Err(error);
            }
        };
        let Some(packet) = Packet::read(&bytes) else {
            self.add("not a packet any more");
            return Ok(None);
        };
        let conversation = self.sessions.conversation(packet.session);
        if session.is_some_and(|session| self.sessions.conversation(session) != conversation) {
            self.broken(format!("{addr} in session {session:?}: {packet:?}"));
        }
        if !self.sessions.is_for_itself(packet.session) {
            let last = self.lock().last.insert((addr, conversation), packet.number);
            self.check_order(addr, last, packet.number);
        }
        let is_new = self.lock().received.insert((addr, packet.number));
        let question = self.sessions.is_question(packet.session);
        if question && !self.lock().handled.insert((addr, packet.number)) {
            self.broken(format!("{addr}: question {} handled twice", packet.number));
        }
        if self.single && !is_new {
            self.broken(format!("{addr}: {} twice", packet.number));
        }
        Ok(Some(packet))
    }

    /// What one sends to another arrives in order, if the network keeps it.
    pub(super) fn check_order(&self, who: SocketAddr, last: Option<u32>, number: u32) {
        let again = !self.single && last == Some(number);
        if self.in_order && !again && !self.sessions.repeats() && last >= Some(number) {
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
        let session = 0;
        let bytes = Packet {
            number,
            act,
            session,
        };
        let bytes = bytes.bytes(0);
        Ok(client.send(Bytes::from(bytes)).await?)
    }

    /// The handler.
    pub(super) fn handle(
        self: Arc<Self>,
        client: Client<Bytes>,
        requests: Requests<Bytes>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        let run = self.begin(client.clone());
        async move {
            let run = run; // the whole of it, until the end
            let handled = self.run(&client, requests).await;
            self.tell(&format!("{} ends with {handled:?}", run.1.remote_addr()));
            handled
        }
    }

    async fn run(
        self: &Arc<Self>,
        client: &Client<Bytes>,
        mut requests: Requests<Bytes>,
    ) -> Result<(), BoxError> {
        let number = self.lock().started;
        if number.is_multiple_of(13) {
            return Ok(()); // its datagram is discarded
        }
        let late = number.is_multiple_of(5);
        if late {
            sleep(LATE).await; // its datagram is queued, and others behind it
        }
        let first = self.received(client, None, requests.recv().await)?;
        let Some(Packet { act, session, .. }) = first else {
            return Ok(());
        };
        if self.sessions.is_for_itself(session) {
            if late {
                self.add("a datagram for itself came late");
            }
            return self.answer_one(client, requests, act).await;
        }
        let conversation = self.sessions.conversation(session);
        let _talking = self.talks(client.remote_addr(), conversation);
        let own = Some(session);
        match act {
            Act::Echo => self.answer(client, act).await?,
            Act::Talk => {
                self.answer(client, act).await?;
                self.talk(client, requests, own).await?;
            }
            Act::Elsewhere => {
                let (service, client) = (Arc::clone(self), client.clone());
                self.add("a receive in another task");
                let talk = async move { service.talk(&client, requests, own).await };
                tokio::spawn(talk).await??;
            }
            Act::Select => {
                for _ in 0..3 {
                    let received = timeout(Duration::from_millis(15), requests.recv()).await;
                    let Ok(received) = received else {
                        self.add("a receive was dropped");
                        continue;
                    };
                    self.received(client, own, received)?;
                    self.answer(client, act).await?;
                }
            }
            Act::Busy => {
                sleep(Duration::from_millis(40)).await;
                loop {
                    match requests.recv_timeout(Duration::ZERO).await {
                        Err(RecvError::TimedOut) => break,
                        received => self.received(client, own, received)?,
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

    /// Answers a datagram that is for itself: nothing more comes.
    async fn answer_one(
        self: &Arc<Self>,
        client: &Client<Bytes>,
        mut requests: Requests<Bytes>,
        act: Act,
    ) -> Result<(), BoxError> {
        match act {
            Act::Echo | Act::Push => {}
            Act::Talk => self.nothing_more(&requests.recv().await),
            Act::Elsewhere => {
                let elsewhere = tokio::spawn(async move { requests.recv().await });
                self.nothing_more(&elsewhere.await?);
            }
            Act::Select => {
                let received = timeout(Duration::from_millis(15), requests.recv()).await;
                self.nothing_more(&received.unwrap_or(Err(RecvError::TimedOut)));
            }
            Act::Busy => {
                sleep(Duration::from_millis(40)).await;
                self.nothing_more(&requests.recv_timeout(Duration::ZERO).await);
            }
            Act::Fail => return Err("told to fail".into()),
            Act::Panic => panic!("told to panic"),
        }
        self.answer(client, act).await
    }

    /// Goes on for a few requests, each within 80 ms.
    async fn talk(
        &self,
        client: &Client<Bytes>,
        mut requests: Requests<Bytes>,
        own: Option<u8>,
    ) -> Result<(), BoxError> {
        for _ in 0..4 {
            let received = requests.recv_timeout(Duration::from_millis(80)).await;
            match self.received(client, own, received) {
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
        self.received(client, own, requests.recv().await)?;
        Ok(())
    }
}
