//! One transfer: what is sent when, and sent again when nothing comes.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use postbox::{BoxError, Client, RecvError, Requests, SendError};
use tokio::time::Instant;

use crate::files::Directory;
use crate::wire::{Code, Name, Packet, Request};

/// How often a packet is sent before the client is given up.
const TRIES: u32 = 6;
/// Until the first is sent again, where the client has not said when. Then it adapts to the time
/// that answers take, as RFC 1123 section 4.2.3.2 demands.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
const MOST_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the last acknowledgement can be asked for again: clients do so after 5 seconds.
const DALLY: Duration = Duration::from_secs(6);

/// What a block can hold (RFC 2348), and what all blocks of a window hold here.
const BLOCK_SIZES: std::ops::RangeInclusive<u64> = 8..=65_464;
const WINDOW_BYTES: u64 = 256 * 1024;
/// The longest file that is taken.
const MOST_BYTES: u64 = 1 << 30;

/// Why a transfer ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// The client begins another.
    Next(Request),
    /// The client is told why.
    Refuse(Code, String),
    /// The client has said why, or says nothing any more.
    Over(String),
    /// The server stops, or makes room for others.
    Ended(RecvError),
    Failed(BoxError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NOT_FOUND,
            io::ErrorKind::PermissionDenied => Code::ACCESS,
            io::ErrorKind::AlreadyExists => Code::EXISTS,
            io::ErrorKind::FileTooLarge | io::ErrorKind::StorageFull => Code::FULL,
            _ => Code::OTHER,
        };
        Self::Refuse(code, error.kind().to_string()) // not the server's paths
    }
}

impl From<RecvError> for Stop {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed | RecvError::Evicted => Self::Ended(error),
            error => Self::Failed(error.into()),
        }
    }
}

impl From<SendError> for Stop {
    fn from(error: SendError) -> Self {
        Self::Failed(error.into())
    }
}

/// One transfer with one client.
#[derive(Debug)]
pub struct Transfer<'a> {
    client: &'a Client<Packet>,
    packets: &'a mut Requests<Packet>,
    request: Request,
    block_size: usize,
    window_size: usize,
    timeout: Duration,
    /// The client has said which.
    timeout_is_fixed: bool,
    /// Something was answered, and nothing sent twice since.
    goes_well: bool,
}

impl<'a> Transfer<'a> {
    pub fn new(
        client: &'a Client<Packet>,
        packets: &'a mut Requests<Packet>,
        request: Request,
    ) -> Self {
        Self {
            client,
            packets,
            request,
            block_size: 512,
            window_size: 1,
            timeout: FIRST_TIMEOUT,
            timeout_is_fixed: false,
            goes_well: false,
        }
    }

    pub async fn run(&mut self, directory: &Directory) -> Result<(), Stop> {
        match self.request.writes {
            true => self.write(directory).await,
            false => self.read(directory).await,
        }
    }

    /// The client reads.
    async fn read(&mut self, directory: &Directory) -> Result<(), Stop> {
        let mut file = directory
            .source(&self.request.file, self.request.mode)
            .await?;
        // Not that of an empty file: curl takes a size of 0 for an error.
        let options = self.options(file.size().filter(|&size| size > 0));
        if !options.is_empty() {
            let answered = |packet| (packet == Packet::Ack(0)).then_some(());
            self.ask(&[Packet::OptionAck(options)], answered).await?;
        }
        let mut window = VecDeque::new(); // sent, and not acknowledged
        let mut next = 1_u16;
        let mut complete = false;
        while !complete || !window.is_empty() {
            while !complete && window.len() < self.window_size {
                let block = file.block(self.block_size).await?;
                complete = block.len() < self.block_size;
                window.push_back(Packet::Data(next, block));
                next = next.wrapping_add(1); // after 65,535 comes 0, as most do it
            }
            let sent = window.len();
            let first = next.wrapping_sub(sent as u16);
            let in_window = |packet| {
                match packet {
                    Packet::Ack(block) => Some(usize::from(block.wrapping_sub(first)) + 1),
                    _ => None,
                }
                .filter(|&count| count <= sent)
            };
            // An older acknowledgement, once more, makes nothing be sent: else each packet would be
            // sent twice from then on (RFC 1123 section 4.2.3.1).
            let count = self.ask(window.make_contiguous(), in_window).await?;
            window.drain(..count);
        }
        Ok(())
    }

    /// The client writes.
    async fn write(&mut self, directory: &Directory) -> Result<(), Stop> {
        let size = self.request.option(Name::TransferSize);
        if size.is_some_and(|size| size > MOST_BYTES) {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        let Request { file, mode, .. } = &self.request;
        let mut file = directory.sink(file, *mode, MOST_BYTES).await?;
        let options = self.options(size);
        let mut answer = match options.is_empty() {
            true => Packet::Ack(0),
            false => Packet::OptionAck(options),
        };
        self.client.send(answer.clone()).await?;
        let mut last = 0_u16; // received
        let mut unacknowledged = 0;
        let mut missed = false; // a block of the window, which the client has been told
        loop {
            let data = |packet| match packet {
                Packet::Data(block, data) => Some((block.wrapping_sub(last), data)),
                _ => None,
            };
            let (ahead, data) = self.wait(std::slice::from_ref(&answer), data).await?;
            match usize::from(ahead) {
                1 => {
                    last = last.wrapping_add(1);
                    answer = Packet::Ack(last);
                    (unacknowledged, missed) = (unacknowledged + 1, false);
                    let complete = data.len() < self.block_size;
                    file.write(data).await?;
                    match complete {
                        true => break,
                        false if unacknowledged < self.window_size => continue,
                        false => {}
                    }
                }
                0 => {} // the client has not heard the acknowledgement
                ahead if ahead <= self.window_size && !missed => {
                    answer = Packet::Ack(last);
                    missed = true;
                }
                _ => continue,
            }
            self.client.send(answer.clone()).await?;
            unacknowledged = 0;
        }
        file.complete().await?;
        self.dally(last).await
    }

    /// Acknowledges the last block, and again if the client has not heard it.
    async fn dally(&mut self, last: u16) -> Result<(), Stop> {
        self.client.send(Packet::Ack(last)).await?;
        let end = Instant::now() + DALLY.max(2 * self.timeout);
        loop {
            match self.packets.recv_until(end).await {
                Ok(Packet::Data(block, _)) if block == last => {
                    self.client.send(Packet::Ack(last)).await?;
                }
                Ok(Packet::Request(next)) if next != self.request => return Err(Stop::Next(next)),
                Ok(_) => {}
                Err(RecvError::TimedOut) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the options of the request, as far as they go, and tells which.
    fn options(&mut self, size: Option<u64>) -> Vec<(Name, u64)> {
        let mut taken = Vec::new();
        if let Some(asked) = self.request.option(Name::BlockSize)
            && asked >= *BLOCK_SIZES.start()
        {
            let bytes = asked.min(*BLOCK_SIZES.end());
            self.block_size = bytes as usize;
            taken.push((Name::BlockSize, bytes));
        }
        if let Some(seconds @ 1..=255) = self.request.option(Name::Timeout) {
            self.timeout = Duration::from_secs(seconds);
            self.timeout_is_fixed = true;
            taken.push((Name::Timeout, seconds));
        }
        if let (Some(_), Some(size)) = (self.request.option(Name::TransferSize), size) {
            taken.push((Name::TransferSize, size));
        }
        if let Some(asked @ 1..=65_535) = self.request.option(Name::WindowSize) {
            let blocks = asked.min(WINDOW_BYTES / self.block_size as u64).max(1);
            self.window_size = blocks as usize;
            taken.push((Name::WindowSize, blocks));
        }
        taken
    }

    /// Sends the packets, and waits for what is wanted.
    async fn ask<T>(
        &mut self,
        packets: &[Packet],
        wanted: impl Fn(Packet) -> Option<T>,
    ) -> Result<T, Stop> {
        self.send(packets).await?;
        self.wait(packets, wanted).await
    }

    /// Waits for what is wanted, and sends the packets again each time that it does not come.
    async fn wait<T>(
        &mut self,
        packets: &[Packet],
        wanted: impl Fn(Packet) -> Option<T>,
    ) -> Result<T, Stop> {
        let mut timeout = self.timeout;
        for attempt in 0..TRIES {
            let sent = Instant::now();
            while let Some(packet) = self.recv_until(sent + timeout).await? {
                if let Some(found) = wanted(packet) {
                    if attempt == 0 && !self.timeout_is_fixed {
                        let taken = (4 * sent.elapsed()).clamp(LEAST_TIMEOUT, MOST_TIMEOUT);
                        self.timeout = (7 * self.timeout + taken) / 8;
                    }
                    self.goes_well = attempt == 0;
                    return Ok(found);
                }
            }
            self.goes_well = false;
            // Where the options were lost, the client repeats its request; where its answer was, it
            // repeats that, and atftp ends if it hears the options once more.
            if attempt + 1 < TRIES && !matches!(packets, [Packet::OptionAck(_)]) {
                self.send(packets).await?;
            }
            // Also where the client has named the time: else its own, which begins anew with each
            // packet, never comes.
            timeout = (2 * timeout).min(MOST_TIMEOUT.max(self.timeout));
        }
        Err(Stop::Over(format!("no answer, {TRIES} times")))
    }

    async fn send(&mut self, packets: &[Packet]) -> Result<(), SendError> {
        for packet in packets {
            self.client.send(packet.clone()).await?;
        }
        Ok(())
    }

    /// A packet of this transfer, or `None` at the deadline.
    async fn recv_until(&mut self, deadline: Instant) -> Result<Option<Packet>, Stop> {
        loop {
            return match self.packets.recv_until(deadline).await {
                // The client has asked twice, and heard the answer.
                Ok(Packet::Request(again)) if self.goes_well && again == self.request => continue,
                Ok(Packet::Request(next)) => Err(Stop::Next(next)),
                Ok(Packet::Error(code, message)) => {
                    Err(Stop::Over(format!("{code:?} {message:?}")))
                }
                Ok(packet) => Ok(Some(packet)),
                Err(RecvError::TimedOut) => Ok(None),
                Err(error) => Err(error.into()),
            };
        }
    }
}
