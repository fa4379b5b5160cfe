//! One call: what is sent when, and sent again when nothing comes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use postbox::{BoxError, Client, Clients, ContextVar, RecvError, Requests};
use tokio::time::Instant;

use crate::wire::{Message, Start, host};

/// The timers of RFC 3261 section 17: a round trip, and the longest time between two tries.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// How long something is tried, and how long a request can be repeated (timers F, H and J).
const GIVE_UP: Duration = T1.saturating_mul(64);

const METHODS: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// What `service_init` gives to all calls.
pub static CLIENTS: ContextVar<Clients<Message>> = ContextVar::new("clients");

/// How the machine answers.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long it rings.
    pub ring: Duration,
    /// Then it hangs up.
    pub longest: Duration,
}

/// The calls with one Call-ID of one address: one after the other.
#[derive(Debug)]
pub struct Calls {
    pub client: Client<Message>,
    pub requests: Requests<Message>,
    pub times: Times,
    /// Ours, of each `To`.
    pub tag: String,
}

impl Calls {
    /// Handles the first request, and the calls that begin with this Call-ID.
    pub async fn run(mut self) -> Result<(), BoxError> {
        let mut next = Some(self.recv().await?);
        while let Some(request) = next.take() {
            if request.method() != Some("INVITE") || request.has_dialog() {
                self.aside(&request).await?;
                break;
            }
            // In a box, which is gone once the call is over: it is remembered for half a minute.
            if let Some(bye) = Box::pin(self.ring(request)).await? {
                next = self.remember(bye).await?;
            }
        }
        Ok(())
    }

    /// Rings until it is time to answer, or the caller gives up. The result is the caller's `BYE`,
    /// if it has ended the call.
    async fn ring(&mut self, invite: Message) -> Result<Option<Message>, BoxError> {
        self.answer(&invite, 100, "Trying").await?;
        self.answer(&invite, 180, "Ringing").await?;
        let answer_at = Instant::now() + self.times.ring;
        loop {
            let request = match self.recv_until(answer_at).await {
                Ok(Some(request)) => request,
                Ok(None) => return self.accept(&invite).await,
                Err(error) => {
                    self.answer(&invite, 503, "Service Unavailable").await?;
                    return Err(error.into());
                }
            };
            match request.method() {
                Some("INVITE") if request.branch() == invite.branch() => {
                    self.answer(&invite, 180, "Ringing").await?;
                }
                Some("CANCEL") if request.branch() == invite.branch() => {
                    self.answer(&request, 200, "OK").await?;
                    return self.cancelled(&invite).await;
                }
                Some("BYE") => {
                    self.answer(&request, 200, "OK").await?;
                    return self.cancelled(&invite).await;
                }
                _ => self.aside(&request).await?,
            }
        }
    }

    async fn cancelled(&mut self, invite: &Message) -> Result<Option<Message>, BoxError> {
        let response = invite.response(487, "Request Terminated", Some(&self.tag));
        let client = self.answered_at(invite)?;
        let is_ack = |message: &Message| message.method() == Some("ACK");
        self.insist(&client, &response, invite.branch(), is_ack)
            .await?;
        Ok(None)
    }

    /// Answers the call, again until the caller acknowledges it (section 13.3.1.4), and talks.
    async fn accept(&mut self, invite: &Message) -> Result<Option<Message>, BoxError> {
        let mut response = invite.response(200, "OK", Some(&self.tag));
        for route in invite.all("record-route") {
            response = response.with("record-route", route);
        }
        let response = response
            .with("contact", format!("<{}>", self.uri()))
            .with("allow", METHODS)
            .with_body("application/sdp", self.description());
        let client = self.answered_at(invite)?;
        let sequence = invite.sequence();
        let goes_on = |message: &Message| match message.method() {
            Some("ACK") => message.sequence() == sequence,
            method => method == Some("BYE"),
        };
        match self
            .insist(&client, &response, invite.branch(), goes_on)
            .await?
        {
            Some(bye) if bye.method() == Some("BYE") => Ok(Some(bye)),
            Some(_) => self.talk(invite).await,
            None => self.hang_up(invite).await,
        }
    }

    /// Waits for the caller's end of the call. This machine has nothing to say.
    async fn talk(&mut self, invite: &Message) -> Result<Option<Message>, BoxError> {
        let hang_up_at = Instant::now() + self.times.longest;
        loop {
            let request = match self.recv_until(hang_up_at).await {
                Ok(Some(request)) => request,
                Ok(None) => return self.hang_up(invite).await,
                Err(error) => {
                    // The server stops, or makes room for others.
                    self.client.send(self.bye(invite)).await?;
                    return Err(error.into());
                }
            };
            match request.method() {
                Some("BYE") => return Ok(Some(request)),
                // Once more, after it was acknowledged (RFC 6026).
                Some("INVITE") if request.branch() == invite.branch() => {}
                // The caller changes the call.
                Some("INVITE") => return Box::pin(self.accept(&request)).await,
                _ => self.aside(&request).await?,
            }
        }
    }

    async fn hang_up(&mut self, invite: &Message) -> Result<Option<Message>, BoxError> {
        let bye = self.bye(invite);
        let client = self.client.clone();
        let branch = bye.branch().to_owned();
        let is_answer = |message: &Message| {
            matches!(message.start, Start::Response { status: 200.., .. })
                && message.branch() == branch
        };
        self.insist(&client, &bye, "", is_answer).await?;
        Ok(None)
    }

    /// Answers the caller's end of the call, and again if it is repeated, until a drain begins.
    /// Another call may come meanwhile.
    async fn remember(&mut self, bye: Message) -> Result<Option<Message>, BoxError> {
        self.answer(&bye, 200, "OK").await?;
        let draining = self.client.drain_token();
        let forget_at = Instant::now() + GIVE_UP;
        loop {
            let request = tokio::select! {
                biased;
                request = self.recv_until(forget_at) => request?,
                () = draining.begun() => None,
            };
            match request {
                None => return Ok(None),
                Some(again) if again.branch() == bye.branch() => {
                    self.answer(&bye, 200, "OK").await?;
                }
                Some(next) if is_other_call(&next, &bye) => return Ok(Some(next)),
                Some(other) => self.aside(&other).await?,
            }
        }
    }

    /// Sends a message until what is wanted comes: after T1, and twice as long each time up to T2.
    /// `None` if it never does. A request of the branch asks for it to be sent again.
    async fn insist(
        &mut self,
        client: &Client<Message>,
        message: &Message,
        branch: &str,
        wanted: impl Fn(&Message) -> bool,
    ) -> Result<Option<Message>, BoxError> {
        let give_up_at = Instant::now() + GIVE_UP;
        let mut wait = T1;
        while Instant::now() < give_up_at {
            client.send(message.clone()).await?;
            let again_at = give_up_at.min(Instant::now() + wait);
            while let Some(received) = self.recv_until(again_at).await? {
                if wanted(&received) {
                    return Ok(Some(received));
                }
                match received.method() {
                    Some("INVITE") if received.branch() == branch => {
                        client.send(message.clone()).await?;
                    }
                    _ => self.aside(&received).await?,
                }
            }
            wait = T2.min(2 * wait);
        }
        Ok(None)
    }

    /// Answers what neither begins nor ends a call.
    async fn aside(&self, request: &Message) -> Result<(), BoxError> {
        match request.method() {
            None | Some("ACK") => Ok(()), // a late one
            Some("OPTIONS") => {
                let response = request.response(200, "OK", Some(&self.tag));
                self.respond(request, response.with("allow", METHODS)).await
            }
            // It has come by two ways, or of a call that is over (section 8.2.2.2).
            Some("INVITE") if !request.has_dialog() => {
                self.answer(request, 482, "Loop Detected").await
            }
            Some("BYE" | "CANCEL" | "INVITE") => {
                self.answer(request, 481, "Call/Transaction Does Not Exist")
                    .await
            }
            Some(_) => {
                let response = request.response(405, "Method Not Allowed", Some(&self.tag));
                self.respond(request, response.with("allow", METHODS)).await
            }
        }
    }

    async fn answer(&self, request: &Message, status: u16, reason: &str) -> Result<(), BoxError> {
        let tag = (status != 100).then_some(self.tag.as_str());
        self.respond(request, request.response(status, reason, tag))
            .await
    }

    async fn respond(&self, request: &Message, response: Message) -> Result<(), BoxError> {
        Ok(self.answered_at(request)?.send(response).await?)
    }

    /// Where the responses to a request go: not always to the port that it came from.
    fn answered_at(&self, request: &Message) -> Result<Client<Message>, BoxError> {
        let mut to = self.client.remote_addr();
        to.set_port(request.response_port());
        if to == self.client.remote_addr() {
            return Ok(self.client.clone());
        }
        let clients = CLIENTS.get().ok_or("no service")?;
        Ok(clients.local_addr(self.client.local_addr()).to(to)?)
    }

    async fn recv(&mut self) -> Result<Message, RecvError> {
        let mut request = self.requests.recv().await?;
        request.stamp(self.client.remote_addr());
        Ok(request)
    }

    async fn recv_until(&mut self, deadline: Instant) -> Result<Option<Message>, RecvError> {
        match self.requests.recv_until(deadline).await {
            Ok(mut request) => {
                request.stamp(self.client.remote_addr());
                Ok(Some(request))
            }
            Err(RecvError::TimedOut) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What ends an answered call from this side: section 12.2.1.1.
    fn bye(&self, invite: &Message) -> Message {
        let uri = invite.contact().unwrap_or("sip:unknown.invalid").to_owned();
        let start = Start::Request {
            method: "BYE".to_owned(),
            uri,
        };
        let headers = invite
            .all("record-route")
            .map(|route| ("route".to_owned(), route.to_owned()));
        let (tag, branch) = (&self.tag, invite.branch());
        let address = self.local_addr();
        let to = invite.header("to");
        let from = if invite.has_dialog() {
            to.to_owned()
        } else {
            format!("{to};tag={tag}")
        };
        Message {
            start,
            headers: headers.collect(),
            body: Default::default(),
        }
        .with(
            "via",
            format!("SIP/2.0/UDP {address};rport;branch={branch}-bye"),
        )
        .with("from", from)
        .with("to", invite.header("from"))
        .with("call-id", invite.header("call-id"))
        .with("cseq", "1 BYE")
        .with("max-forwards", "70")
    }

    fn uri(&self) -> String {
        format!("sip:{}", self.local_addr())
    }

    /// Ours, as the caller knows it. Not known on every transport.
    fn local_addr(&self) -> String {
        let address = self.client.local_addr();
        address.map_or_else(
            || "unknown.invalid".to_owned(),
            |address| format!("{}:{}", host(address.ip()), address.port()),
        )
    }

    /// A call without sound, in SDP (RFC 4566).
    fn description(&self) -> String {
        let ip = self
            .client
            .local_addr()
            .map(|address| address.ip().to_canonical());
        let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        format!(
            "v=0\r\no=- 0 0 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio 9 RTP/AVP 0\r\na=inactive\r\n"
        )
    }
}

fn is_other_call(request: &Message, bye: &Message) -> bool {
    let invites = request.method() == Some("INVITE") && !request.has_dialog();
    invites && request.header("from") != bye.header("from")
}
