//! One good client: it holds one conversation after the other, and asks again where no answer
//! comes.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use super::exchange::{Answer, LAST, Request};

/// After how long a client asks again for the first time; each time after takes twice as long (RFC
/// 8085 section 3.1.1, RFC 6298 section 5.5).
const TIMEOUT: Range<u64> = 50_000_000..200_000_000;

/// After how long without an answer a conversation is given up.
pub(super) const GIVE_UP: Duration = Duration::from_secs(3);

/// How long a client takes its time, in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// From an answer to the next exchange of the conversation.
    pub(super) thinks: Range<u64>,
    /// From a conversation to the next.
    pub(super) rests: Range<u64>,
}

impl Manner {
    /// As a program does: some 800 conversations a second of 64 clients.
    pub(super) const QUICK: Self = Self {
        thinks: 0..20_000_000,
        rests: 0..100_000_000,
    };

    /// As people do: so long between the exchanges.
    pub(super) fn slow(thinks: Duration) -> Self {
        let thinks = thinks.as_nanos() as u64;
        Self {
            thinks: thinks..thinks + 1,
            rests: 0..1_000_000_000,
        }
    }
}

/// What an answer, or the time that passed, has brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A conversation has begun.
    Begun,
    /// An exchange is answered, after so many nanoseconds.
    Answered { after: u64 },
    /// The same, and it was the last one of its conversation.
    Finished { after: u64 },
    /// A conversation is given up.
    GivenUp,
    /// The server does not know the conversation any more.
    Killed,
}

/// A client, and its conversation.
#[derive(Debug)]
pub(super) struct GoodClient {
    number: u8,
    /// Counts its conversations: each comes from an address of its own, as from a port of its own.
    turn: u8,
    /// The exchange that is next, or is not answered yet; 0 between two conversations.
    step: u8,
    nonce: u64,
    conversation: u64,
    /// When this exchange was asked for first, if it was.
    asked: Option<u64>,
    timeout: u64,
    /// When to do something.
    due: u64,
}

impl GoodClient {
    pub(super) fn new(number: u8) -> Self {
        Self {
            number,
            turn: 0,
            step: 0,
            nonce: 0,
            conversation: 0,
            asked: None,
            timeout: 0,
            due: 0,
        }
    }

    /// Which conversation it is in: 0 for none yet, then 1 to 254 again and again.
    pub(super) fn turn(&self) -> u8 {
        self.turn
    }

    /// Where its present conversation comes from: each client is in a network of its own.
    pub(super) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, 1, self.number, self.turn)
    }

    pub(super) fn is_resting(&self) -> bool {
        self.step == 0
    }

    /// Ends its rest.
    pub(super) fn hurry(&mut self) {
        if self.is_resting() {
            self.due = 0;
        }
    }

    /// What to ask now, if anything. Nothing is begun unless it `may_begin`.
    pub(super) fn act(
        &mut self,
        now: u64,
        may_begin: bool,
        manner: &Manner,
        random: &mut Rng,
    ) -> (Option<Request>, Option<Event>) {
        if now < self.due || (self.is_resting() && !may_begin) {
            return (None, None);
        }
        let mut event = None;
        match self.asked {
            Some(asked) if now >= asked + GIVE_UP.as_nanos() as u64 => {
                self.rest(now, manner, random);
                return (None, Some(Event::GivenUp));
            }
            Some(asked) => {
                self.timeout *= 2;
                self.due = (now + self.timeout).min(asked + GIVE_UP.as_nanos() as u64);
            }
            None => {
                if self.is_resting() {
                    event = Some(Event::Begun);
                    self.turn = self.turn % 254 + 1;
                    self.nonce = random.u64(..);
                    self.conversation = 0;
                    self.step = 1;
                }
                self.asked = Some(now);
                self.timeout = random.u64(TIMEOUT);
                self.due = now + self.timeout;
            }
        }
        let request = Request {
            nonce: self.nonce,
            conversation: self.conversation,
            step: self.step,
        };
        (Some(request), event)
    }

    /// Hears an answer. One to an earlier question, or a second one, is none.
    pub(super) fn hear(
        &mut self,
        answer: Answer,
        now: u64,
        manner: &Manner,
        random: &mut Rng,
    ) -> Option<Event> {
        if (answer.nonce, answer.step) != (self.nonce, self.step) {
            return None;
        }
        let after = now.saturating_sub(self.asked?);
        if answer.conversation == 0 {
            self.rest(now, manner, random);
            return Some(Event::Killed);
        }
        if self.step == LAST {
            self.rest(now, manner, random);
            return Some(Event::Finished { after });
        }
        self.conversation = answer.conversation;
        self.step += 1;
        self.asked = None;
        self.due = now + random.u64(manner.thinks.clone());
        Some(Event::Answered { after })
    }

    fn rest(&mut self, now: u64, manner: &Manner, random: &mut Rng) {
        self.step = 0;
        self.asked = None;
        self.due = now + random.u64(manner.rests.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::Conversation;
    use super::*;

    const MANNER: Manner = Manner {
        thinks: 10..11,
        rests: 100..101,
    };

    /// A client, and what it asks at a time.
    fn at(client: &mut GoodClient, now: u64) -> (Option<Request>, Option<Event>) {
        client.act(now, true, &MANNER, &mut Rng::with_seed(1))
    }

    #[test]
    fn a_conversation_has_three_exchanges() {
        let random = &mut Rng::with_seed(1);
        let mut client = GoodClient::new(7);
        let mut server = Conversation::default();
        let mut now = 0;
        let mut events = Vec::new();
        for _ in 0..3 {
            let (request, event) = at(&mut client, now);
            events.extend(event);
            let answer = server.answer(request.unwrap());
            events.extend(client.hear(answer, now + 5, &MANNER, random));
            // A second answer to the same is none.
            assert_eq!(client.hear(answer, now + 6, &MANNER, random), None);
            now += 15;
        }
        let after = 5;
        let all = [
            Event::Begun,
            Event::Answered { after },
            Event::Answered { after },
            Event::Finished { after },
        ];
        assert_eq!(events, all);
        assert!(client.is_resting());
        assert_eq!(at(&mut client, now), (None, None)); // it rests
        assert_eq!(client.address(), Ipv4Addr::new(127, 1, 7, 1));
        assert_eq!(at(&mut client, now + 100).1, Some(Event::Begun));
        assert_eq!(client.address(), Ipv4Addr::new(127, 1, 7, 2));
    }

    #[test]
    fn what_is_not_answered_is_asked_again_ever_more_seldom_and_given_up() {
        let mut client = GoodClient::new(0);
        let (first, _) = at(&mut client, 0);
        let mut times = Vec::new();
        for now in (0..4_000).map(|milli| milli * 1_000_000) {
            match at(&mut client, now) {
                (None, None) => {}
                (None, Some(event)) => {
                    assert_eq!((now, event), (3_000_000_000, Event::GivenUp));
                    break;
                }
                (again, _) => {
                    assert_eq!(again, first);
                    times.push(now);
                }
            }
        }
        assert!((50_000_000..201_000_000).contains(&times[0]), "{times:?}");
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.len() >= 3, "{times:?}");
        for pair in pauses.windows(2) {
            assert!(pair[1].abs_diff(2 * pair[0]) <= 2_000_000, "{times:?}");
        }
        assert!(client.is_resting());
    }

    #[test]
    fn a_conversation_that_the_server_does_not_know_is_over() {
        let random = &mut Rng::with_seed(1);
        let mut client = GoodClient::new(0);
        let first = Conversation::default().answer(at(&mut client, 0).0.unwrap());
        client.hear(first, 0, &MANNER, random);
        let second = at(&mut client, 10).0.unwrap();
        let forgotten = Conversation::default().answer(second);
        let event = client.hear(forgotten, 11, &MANNER, random);
        assert_eq!(event, Some(Event::Killed));
        assert!(client.is_resting());
    }

    #[test]
    fn nothing_is_begun_where_it_may_not() {
        let mut client = GoodClient::new(0);
        let random = &mut Rng::with_seed(1);
        assert_eq!(client.act(5, false, &MANNER, random), (None, None));
        client.hurry();
        assert!(at(&mut client, 5).0.is_some());
        // What has begun goes on.
        let mut later = 5;
        while client.act(later, false, &MANNER, random) == (None, None) {
            later += 1_000_000;
        }
        assert!(!client.is_resting());
    }
}
