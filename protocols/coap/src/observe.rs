//! Observations (RFC 7641): who watches a resource is told what it has become.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet, ResponseType};
use postbox::{BoxError, Client, ClientFault, RecvError, Requests};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::answer::fill;
use crate::resources::Representation;
use crate::wire::{Block, Received, Reply, add_number, number, response};

/// How many there are at once: of all clients, and of one.
pub const MOST: usize = 1024;
pub const MOST_OF_ONE: usize = 16;
/// One of so many notifications has to be acknowledged. So has the first: a stranger may have named
/// somebody else as its source.
pub const CONFIRM_EVERY: u32 = 6;
/// And, so long after one that has not, what it said: it may have been lost. Until then its client
/// may take it for fresh (Max-Age).
pub const CONFIRM_AFTER: Duration = Duration::from_secs(60);
/// And once a day (RFC 7641 section 4.5).
pub const CONFIRM_ANYHOW: Duration = Duration::from_secs(24 * 60 * 60);
/// RFC 7252 section 4.8.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(2);
const ACK_RANDOM_FACTOR: f64 = 1.5;
pub const MAX_RETRANSMIT: u32 = 4;

/// All observations: where the replies to their messages go.
#[derive(Debug)]
pub struct Observers {
    seats: Mutex<Seats>,
    ack_timeout: Duration,
    /// The next Message ID, of all that is sent: no client hears one twice before 65,535 others.
    next_id: AtomicU16,
    random: RandomState,
    drawn: AtomicU64,
}

#[derive(Debug, Default)]
struct Seats {
    of: HashMap<SocketAddr, Vec<Seat>>,
    taken: usize,
}

/// One observation, as `Observers` know it.
#[derive(Debug)]
struct Seat {
    /// The last message that was sent for it.
    message_id: Option<u16>,
    replies: mpsc::Sender<Reply>,
}

impl Observers {
    pub fn new(ack_timeout: Duration) -> Self {
        let random = RandomState::new();
        Self {
            seats: Mutex::default(),
            ack_timeout,
            next_id: AtomicU16::new(random.hash_one("first") as u16),
            random,
            drawn: AtomicU64::new(0),
        }
    }

    pub fn next_id(&self) -> u16 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins an observation with the response to its request. `None` if there are too many.
    pub fn begin(
        self: &Arc<Self>,
        client: SocketAddr,
        request: &Packet,
        answer: &mut Packet,
        state: watch::Receiver<Representation>,
    ) -> Option<Observation> {
        let (sender, replies) = mpsc::channel(1);
        {
            let mut seats = self.seats();
            let of_one = seats.of.get(&client).map_or(0, Vec::len);
            if seats.taken == MOST || of_one == MOST_OF_ONE {
                return None;
            }
            seats.taken += 1;
            seats.of.entry(client).or_default().push(Seat {
                message_id: None,
                replies: sender.clone(),
            });
        }
        add_version(answer, state.borrow().version);
        let observation = Observation {
            observers: Arc::clone(self),
            client,
            seat: sender,
            replies,
            request: request.clone(),
            format: number(answer, CoapOption::ContentFormat),
            state,
            in_flight: None,
            unconfirmed: CONFIRM_EVERY,
            due: Instant::now() + CONFIRM_ANYHOW,
            round_trip: Duration::ZERO,
            not_before: Instant::now(),
        };
        if answer.header.get_type() == MessageType::NonConfirmable {
            observation.expect_reply_to(answer.header.message_id);
        }
        Some(observation)
    }

    /// Hands a reply to the observation that sent the message.
    pub fn reply(&self, client: SocketAddr, message_id: u16, reply: Reply) {
        let seats = self.seats();
        let seats = seats.of.get(&client).into_iter().flatten();
        let sent = |seat: &&Seat| seat.message_id == Some(message_id);
        if let Some(seat) = seats.into_iter().find(sent) {
            // One more before that is read is of a client that says two things of one message.
            let _ = seat.replies.try_send(reply);
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the first acknowledgement is waited for: not as long for each.
    fn first_wait(&self) -> Duration {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let share = self.random.hash_one(drawn) as f64 / u64::MAX as f64;
        self.ack_timeout
            .mul_f64(1.0 + share * (ACK_RANDOM_FACTOR - 1.0))
    }
}

/// One client's, of one resource.
#[derive(Debug)]
pub struct Observation {
    observers: Arc<Observers>,
    client: SocketAddr,
    seat: mpsc::Sender<Reply>,
    replies: mpsc::Receiver<Reply>,
    request: Packet,
    /// The Content-Format that it began with, which does not change.
    format: Option<u32>,
    state: watch::Receiver<Representation>,
    in_flight: Option<InFlight>,
    /// How many notifications were sent since one was acknowledged; at first, as if one was due.
    unconfirmed: u32,
    /// When what is in flight is sent again, or a notification has to be confirmed.
    due: Instant,
    round_trip: Duration,
    /// RFC 7641 section 4.5.1: no more than one in a round trip.
    not_before: Instant,
}

/// A notification that is not acknowledged yet. Meanwhile none follows.
#[derive(Debug)]
struct InFlight {
    packet: Packet,
    sent_at: Instant,
    wait: Duration,
    /// How often it was sent again.
    again: u32,
}

impl Observation {
    /// Notifies the client of changes, until it says something else that needs an answer, or the
    /// observation is over.
    ///
    /// # Errors
    ///
    /// If the client acknowledges no more.
    pub async fn notify(
        &mut self,
        client: &Client<Packet>,
        requests: &mut Requests<Received>,
    ) -> Result<Option<Received>, BoxError> {
        let draining = client.drain_token();
        loop {
            let may_send = self.in_flight.is_none();
            let Self { state, replies, .. } = self;
            let not_before = self.not_before;
            let changed = async {
                sleep_until(not_before).await;
                state.changed().await
            };
            tokio::select! {
                biased;
                received = requests.recv_until(self.due) => match received {
                    Ok(received) => return Ok(Some(received)),
                    Err(RecvError::TimedOut) => self.send_again(client).await?,
                    Err(RecvError::Closed | RecvError::Evicted) => return self.leave(client).await,
                    Err(error) => return Err(error.into()),
                },
                reply = replies.recv() => match reply {
                    Some(Reply::Reset) | None => return Ok(None),
                    Some(Reply::Acknowledged) if self.acknowledged() => return Ok(None),
                    Some(Reply::Acknowledged) => {}
                },
                changed = changed, if may_send => {
                    let code = self.present(changed.is_err());
                    self.send(client, code).await?;
                }
                () = draining.begun() => return self.leave(client).await,
            }
        }
    }

    /// What the next notification says: that it is the last one, unless this is a success.
    fn present(&mut self, is_deleted: bool) -> ResponseType {
        let state = self.state.borrow_and_update();
        if is_deleted {
            ResponseType::NotFound
        } else if state.format.map(u32::from) != self.format {
            ResponseType::NotAcceptable
        } else {
            ResponseType::Content
        }
    }

    /// Sends a notification.
    async fn send(&mut self, client: &Client<Packet>, code: ResponseType) -> Result<(), BoxError> {
        let mut packet = self.notification(code);
        self.unconfirmed += 1;
        let now = Instant::now();
        self.not_before = now + self.round_trip;
        self.due = now + CONFIRM_AFTER;
        if self.unconfirmed >= CONFIRM_EVERY || code.is_error() {
            packet.header.set_type(MessageType::Confirmable);
            let wait = self.observers.first_wait();
            self.due = now + wait;
            self.in_flight = Some(InFlight {
                packet: packet.clone(),
                sent_at: now,
                wait,
                again: 0,
            });
        }
        Ok(client.send(packet).await?)
    }

    fn notification(&self, code: ResponseType) -> Packet {
        let mut packet = response(&self.request, code);
        packet.header.set_type(MessageType::NonConfirmable);
        packet.header.message_id = self.observers.next_id();
        if !code.is_error() {
            let state = self.state.borrow();
            // There is a first block, as the request has shown.
            let block = Block::of(&self.request, CoapOption::Block2).unwrap_or_default();
            let _ = fill(&mut packet, &state, block);
            add_version(&mut packet, state.version);
        }
        self.expect_reply_to(packet.header.message_id);
        packet
    }

    /// Sends what is in flight once more (RFC 7252 section 4.2), or what is to be confirmed.
    async fn send_again(&mut self, client: &Client<Packet>) -> Result<(), BoxError> {
        let Some(in_flight) = &mut self.in_flight else {
            self.unconfirmed = CONFIRM_EVERY;
            let code = self.present(false);
            return self.send(client, code).await;
        };
        if in_flight.again == MAX_RETRANSMIT {
            return Err(ClientFault::new("an observer does not acknowledge any more").into());
        }
        in_flight.again += 1;
        in_flight.wait *= 2;
        self.due = Instant::now() + in_flight.wait;
        Ok(client.send(in_flight.packet.clone()).await?)
    }

    /// Whether that was the last one.
    fn acknowledged(&mut self) -> bool {
        let Some(in_flight) = self.in_flight.take() else {
            return false;
        };
        let now = Instant::now();
        self.unconfirmed = 0;
        self.due = now + CONFIRM_ANYHOW;
        self.round_trip = now - in_flight.sent_at;
        let code = in_flight.packet.header.code;
        code != MessageClass::Response(ResponseType::Content)
    }

    /// Tells the client that it is over.
    async fn leave<T>(&self, client: &Client<Packet>) -> Result<Option<T>, BoxError> {
        let packet = self.notification(ResponseType::ServiceUnavailable);
        client.send(packet).await?;
        Ok(None)
    }

    fn expect_reply_to(&self, message_id: u16) {
        let mut seats = self.observers.seats();
        let mut seats = seats.of.get_mut(&self.client).into_iter().flatten();
        if let Some(seat) = seats.find(|seat| seat.replies.same_channel(&self.seat)) {
            seat.message_id = Some(message_id);
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let mut seats = self.observers.seats();
        seats.taken -= 1;
        if let Some(of_one) = seats.of.get_mut(&self.client) {
            of_one.retain(|seat| !seat.replies.same_channel(&self.seat));
            if of_one.is_empty() {
                seats.of.remove(&self.client);
            }
        }
    }
}

/// Which of two notifications is newer: the Observe option has 24 bits (RFC 7641 section 4.4).
fn add_version(packet: &mut Packet, version: u32) {
    add_number(packet, CoapOption::Observe, version & 0x00ff_ffff);
}
