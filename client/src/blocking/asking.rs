use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use postbox_protocol::panics;

use super::UdpClient;
use crate::ask::questions::{Draw, End, Questions, Verdict};
use crate::ask::{AskError, AskStats, AskTimes, Matching, UNASKED};
use crate::{UdpRecvError, UdpSendError};

/// A client that asks, is answered, and blocks meanwhile: the twin of the async
/// [`AskingClient`](crate::AskingClient), whose page says more. One question at a time.
///
/// **A question is asked at least once**: the server may get it several times.
pub struct AskingClient<Sent, Received = Sent> {
    client: UdpClient<Sent, Received>,
    matching: Box<dyn Matching<Sent, Received>>,
    /// At most one.
    questions: Questions<()>,
    unasked: VecDeque<Result<Received, UdpRecvError>>,
    times: AskTimes,
}

impl<Sent: 'static, Received: 'static> AskingClient<Sent, Received> {
    pub(super) fn new(
        client: UdpClient<Sent, Received>,
        matching: Box<dyn Matching<Sent, Received>>,
    ) -> Self {
        Self {
            client,
            matching,
            questions: Questions::new(),
            unasked: VecDeque::new(),
            times: AskTimes::default(),
        }
    }

    /// Sets when this client sends a question again, and gives it up.
    #[must_use]
    pub fn with_times(mut self, times: AskTimes) -> Self {
        self.times = times;
        self
    }

    /// Asks, and waits for the answer, **at least once**: see
    /// [`AskingClient::ask`](crate::AskingClient::ask).
    ///
    /// # Errors
    ///
    /// [`AskError`] says why this question has no answer. One can ask again.
    pub fn ask(&mut self, request: impl Into<Sent>) -> Result<Received, AskError> {
        self.ask_within(request, self.times.deadline)
    }

    /// Asks with another deadline than that of this client: see [`ask`](Self::ask).
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask).
    pub fn ask_within(
        &mut self,
        request: impl Into<Sent>,
        deadline: Duration,
    ) -> Result<Received, AskError> {
        let mut request = request.into();
        // What the network says of earlier packets does not concern this question. What more than
        // so much has arrived is no word of the network.
        for _ in 0..UNASKED {
            match self.client.try_recv() {
                Some(result) => drop(self.sort(result)),
                None => break,
            }
        }
        let mut draw = Draw::default();
        let number = loop {
            let fresh = self.questions.draw(&mut draw).ok_or(AskError::NoNumber)?;
            let number = panics::catch(|| self.matching.number(&mut request, fresh));
            let number = number.map_err(|message| AskError::Crashed { message })?;
            if self.questions.open(number, &draw, ()).is_ok() {
                break number;
            }
        };
        let result = match self.client.encode(request) {
            Ok(()) => self.send_and_wait(number, deadline),
            Err(error) => Err(error.into()),
        };
        let end = match &result {
            Err(AskError::TimedOut) => End::TimedOut,
            Err(AskError::Refused) => End::Refused,
            _ => End::Failed,
        };
        self.questions.close(number, end);
        result
    }

    fn send_and_wait(&mut self, number: u64, deadline: Duration) -> Result<Received, AskError> {
        let mut now = Instant::now();
        let deadline = now.checked_add(deadline);
        let mut repetition = self.questions.begin(number, now, &self.times);
        loop {
            match self.client.send_encoded(deadline) {
                Ok(()) => self.questions.sent(number),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(AskError::TimedOut);
                }
                Err(error) => return Err(UdpSendError::Io(error).into()),
            }
            let again = Instant::now().checked_add(repetition.timeout());
            let until = match (again, deadline) {
                (Some(again), Some(deadline)) => Some(again.min(deadline)),
                (again, deadline) => again.or(deadline),
            };
            if let Some(answer) = self.answer_until(until)? {
                return Ok(answer);
            }
            now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(AskError::TimedOut);
            }
            repetition.back_off();
            self.questions.sending(number, now, repetition.timeout());
        }
    }

    /// Waits for the answer to the open question.
    fn answer_until(&mut self, until: Option<Instant>) -> Result<Option<Received>, AskError> {
        let mut failures = 0;
        loop {
            match self.client.recv_until(until) {
                Err(UdpRecvError::TimedOut) => return Ok(None),
                Err(UdpRecvError::Refused) => return Err(AskError::Refused),
                Err(UdpRecvError::Io(error)) if failures == 2 => return Err(AskError::Io(error)),
                Err(error @ UdpRecvError::Io(_)) => {
                    failures += 1;
                    self.keep(Err(error));
                }
                result => {
                    failures = 0;
                    if let Some(answer) = self.sort(result) {
                        return Ok(Some(answer));
                    }
                }
            }
            // However much else arrives.
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
    }

    /// Returns the answer to the open question, and keeps what nobody asked for.
    fn sort(&mut self, result: Result<Received, UdpRecvError>) -> Option<Received> {
        let result = result.and_then(|packet| {
            let number = panics::catch(|| self.matching.number_of(&packet));
            let number = number.map_err(|message| UdpRecvError::Crashed { message })?;
            Ok((packet, number))
        });
        match result {
            Ok((packet, number)) => match self.questions.verdict(number, Instant::now()) {
                Verdict::Answer(()) => return Some(packet),
                Verdict::Duplicate => {}
                Verdict::Unasked => self.keep(Ok(packet)),
            },
            Err(error) => {
                self.questions.count_malformed(&error);
                self.keep(Err(error));
            }
        }
        None
    }

    fn keep(&mut self, unasked: Result<Received, UdpRecvError>) {
        if self.unasked.len() < UNASKED {
            self.unasked.push_back(unasked);
        } else {
            self.questions.stats.dropped += 1;
        }
    }

    /// Sends a packet that is no question, once.
    ///
    /// # Errors
    ///
    /// [`UdpSendError`] speaks of this packet only.
    pub fn send(&mut self, packet: impl Into<Sent>) -> Result<(), UdpSendError> {
        self.client.send(packet.into())
    }

    /// Receives the next packet that answers no open question, waiting for it as long as it takes.
    ///
    /// # Errors
    ///
    /// As [`UdpClient::recv`].
    pub fn recv(&mut self) -> Result<Received, UdpRecvError> {
        self.recv_until(None)
    }

    /// Receives the next packet that answers no open question, waiting for it at most `limit`: see
    /// [`UdpClient::recv_timeout`].
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`UdpRecvError::TimedOut`].
    pub fn recv_timeout(&mut self, limit: Duration) -> Result<Received, UdpRecvError> {
        self.recv_until(Instant::now().checked_add(limit))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<Received, UdpRecvError> {
        loop {
            if let Some(unasked) = self.unasked.pop_front() {
                return unasked;
            }
            let received = self.client.recv_until(deadline);
            if matches!(received, Err(UdpRecvError::TimedOut)) {
                return received;
            }
            self.sort(received);
            // Also where answers of old questions come without an end.
            let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if is_over && self.unasked.is_empty() {
                return Err(UdpRecvError::TimedOut);
            }
        }
    }

    /// Receives a packet that answers no open question if it has arrived already, and answers
    /// `None` if not.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Option<Result<Received, UdpRecvError>> {
        for _ in 0..UNASKED {
            if let Some(unasked) = self.unasked.pop_front() {
                return Some(unasked);
            }
            let received = self.client.try_recv()?;
            self.sort(received);
        }
        None
    }

    /// Returns what became of the questions of this client.
    pub fn stats(&self) -> AskStats {
        self.questions.stats()
    }

    /// Returns the address that this client sends from.
    pub fn local_addr(&self) -> SocketAddr {
        self.client.local_addr()
    }

    /// Returns the server's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.client.peer_addr()
    }
}

impl<Sent, Received> fmt::Debug for AskingClient<Sent, Received> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskingClient")
            .field("client", &self.client)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
