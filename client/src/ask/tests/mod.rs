//! Asking over a wire in memory, with tokio's clock paused: what time it takes is exact.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod answers;
mod ends;
mod numbers;
mod repeated;
mod seeds;

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::core::Core;
use super::link::{Arrival, Link};
use super::{AskError, AskTimes, matching};
use crate::{UdpRecvError, UdpSendError};

/// A question or its answer: the answer says what the question said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet {
    number: u64,
    says: u64,
}

/// One end of the wire.
struct Wire {
    incoming: Mutex<VecDeque<Result<Packet, UdpRecvError>>>,
    arrived: Notify,
    /// The wait for an arrival fails.
    broken: Mutex<bool>,
    sent: mpsc::UnboundedSender<(Instant, Packet)>,
    /// What the next sends answer instead of sending; `None` waits for ever.
    failing: Mutex<VecDeque<Option<io::ErrorKind>>>,
}

impl Wire {
    fn put(&self, packet: Result<Packet, UdpRecvError>) {
        self.incoming.lock().unwrap().push_back(packet);
        self.arrived.notify_one();
    }
}

impl Link for Wire {
    type Sent = Packet;
    type Received = Packet;

    fn encode(&self, packet: Packet, limit: usize) -> Result<Box<[u8]>, UdpSendError> {
        let datagram = [packet.number.to_le_bytes(), packet.says.to_le_bytes()].concat();
        match datagram.len() {
            len if len > limit => Err(UdpSendError::TooLarge { len, limit }),
            _ => Ok(datagram.into()),
        }
    }

    async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let failing = self.failing.lock().unwrap().pop_front();
        match failing {
            Some(Some(kind)) => return Err(kind.into()),
            Some(None) => std::future::pending().await,
            None => {}
        }
        let (number, says) = datagram.split_at(8);
        let [number, says] =
            [number, says].map(|part| u64::from_le_bytes(part.try_into().unwrap()));
        let _ = self.sent.send((Instant::now(), Packet { number, says }));
        Ok(())
    }

    fn try_recv(&self) -> Option<Result<Packet, UdpRecvError>> {
        self.incoming.lock().unwrap().pop_front()
    }

    fn arrival(self: Arc<Self>) -> Arrival {
        Box::pin(async move {
            loop {
                if *self.broken.lock().unwrap() {
                    return Err(UdpRecvError::Io(io::ErrorKind::NotConnected.into()));
                }
                if !self.incoming.lock().unwrap().is_empty() {
                    return Ok(());
                }
                self.arrived.notified().await;
            }
        })
    }
}

/// The other end.
struct Peer {
    wire: Arc<Wire>,
    sent: mpsc::UnboundedReceiver<(Instant, Packet)>,
}

impl Peer {
    /// The next packet that was sent, and when.
    async fn hear(&mut self) -> (Instant, Packet) {
        self.sent.recv().await.unwrap()
    }

    /// What was sent and not heard yet.
    fn heard(&mut self) -> Vec<Packet> {
        std::iter::from_fn(|| Some(self.sent.try_recv().ok()?.1)).collect()
    }

    fn tell(&self, packet: Packet) {
        self.wire.put(Ok(packet));
    }

    fn push(&self, says: u64) {
        self.tell(Packet { number: 0, says });
    }

    fn refuse(&self) {
        self.wire.put(Err(UdpRecvError::Refused));
    }

    fn fail_sends(&self, failures: impl IntoIterator<Item = Option<io::ErrorKind>>) {
        self.wire.failing.lock().unwrap().extend(failures);
    }
}

type Asking = Arc<Core<Wire>>;

/// A client whose numbers have so many bits, and its server.
fn pair(bits: u32) -> (Asking, Peer) {
    let (sender, sent) = mpsc::unbounded_channel();
    let wire = Arc::new(Wire {
        incoming: Mutex::default(),
        arrived: Notify::new(),
        broken: Mutex::default(),
        sent: sender,
        failing: Mutex::default(),
    });
    let matching = matching(
        move |packet: &mut Packet, fresh| {
            assert!(packet.says != PANICS, "asked to panic");
            packet.number = fresh & (u64::MAX >> (64 - bits));
            packet.number
        },
        |packet: &Packet| {
            assert!(packet.says != PANICS, "asked to panic");
            (packet.number != 0).then_some(packet.number)
        },
    );
    let client = Arc::new(Core::new(Arc::clone(&wire), Box::new(matching)));
    (client, Peer { wire, sent })
}

/// What makes the matching panic.
const PANICS: u64 = u64::MAX;

async fn ask(client: &Core<Wire>, says: u64) -> Result<u64, AskError> {
    ask_with(client, says, &AskTimes::default()).await
}

async fn ask_with(client: &Core<Wire>, says: u64, times: &AskTimes) -> Result<u64, AskError> {
    let question = Packet { number: 0, says };
    client
        .ask(question, 16, times)
        .await
        .map(|packet| packet.says)
}

/// Asks in a task.
fn asked(client: &Asking, says: u64) -> tokio::task::JoinHandle<Result<u64, AskError>> {
    let client = Arc::clone(client);
    tokio::spawn(async move { ask(&client, says).await })
}

/// Polls once, and wakes nobody.
fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The counters, so that what is not named has to be zero.
fn assert_counted(client: &Core<Wire>, expected: super::AskStats) {
    assert_eq!(client.stats(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_wire_of_these_tests_carries_a_question_and_its_answer() {
    let (client, mut peer) = pair(64);
    let mut asking = pin!(ask(&client, 7));
    assert!(poll(&mut asking).is_pending());
    let (_, question) = peer.hear().await;
    assert_eq!(question.says, 7);
    peer.tell(question);
    assert_eq!(asking.await.unwrap(), 7);
}
