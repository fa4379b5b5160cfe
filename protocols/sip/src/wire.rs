//! SIP messages in datagrams: RFC 3261 sections 7, 18 and 20, as far as an answering machine needs
//! them.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use postbox::{BoxError, Serializer};

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub start: Start,
    /// Names as they are written in full, and in lower case; values as they came.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

/// One letter stands for each of these (section 7.3.3).
const COMPACT: [(&str, &str); 10] = [
    ("c", "content-type"),
    ("e", "content-encoding"),
    ("f", "from"),
    ("i", "call-id"),
    ("k", "supported"),
    ("l", "content-length"),
    ("m", "contact"),
    ("s", "subject"),
    ("t", "to"),
    ("v", "via"),
];

/// What every message has, in the order in which a response begins with them.
const NEEDED: [&str; 5] = ["via", "from", "to", "call-id", "cseq"];

impl Message {
    /// The method, of a request.
    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The first of this name, in lower case; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.headers.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The number of the `CSeq`, which orders the requests of a call.
    pub fn sequence(&self) -> Option<u32> {
        self.header("cseq").split_whitespace().next()?.parse().ok()
    }

    /// What tells the transaction: a request that is sent again has the same, and so have the `ACK`
    /// of what refuses an `INVITE`, and its `CANCEL`.
    pub fn branch(&self) -> &str {
        parameter(self.top_via(), "branch")
            .flatten()
            .unwrap_or_default()
    }

    /// Whether it belongs to a call that has been answered.
    pub fn has_dialog(&self) -> bool {
        let to = self.header("to");
        parameter(to.rsplit('>').next().unwrap_or(to), "tag").is_some()
    }

    /// The URI of the `Contact`.
    pub fn contact(&self) -> Option<&str> {
        let contact = self.header("contact");
        let uri = match contact.split_once('<') {
            Some((_, rest)) => rest.split_once('>')?.0,
            None => contact.split(';').next()?.trim(),
        };
        (!uri.is_empty()).then_some(uri)
    }

    fn top_via(&self) -> &str {
        self.header("via").split(',').next().unwrap_or_default()
    }

    /// Notes where the request came from in its first `Via`: section 18.2.1 and RFC 3581.
    pub fn stamp(&mut self, from: SocketAddr) {
        let via = self.top_via();
        let asks_for_port = parameter(via, "rport").is_some();
        let ip = from.ip().to_canonical();
        if !asks_for_port && sent_by(via).0.parse() == Ok(ip) {
            return;
        }
        let mut stamped = String::new();
        let parameters = via.split(';').enumerate();
        for (at, part) in parameters.filter(|(_, part)| !is_named(part, "received")) {
            let separator = if at == 0 { "" } else { ";" };
            match is_named(part, "rport") {
                true => _ = write!(stamped, ";rport={}", from.port()),
                false => _ = write!(stamped, "{separator}{}", part.trim_end()),
            }
        }
        _ = write!(stamped, ";received={ip}");
        let len = via.len();
        if let Some((_, value)) = self.headers.iter_mut().find(|(name, _)| name == "via") {
            value.replace_range(..len, &stamped);
        }
    }

    /// The port that the response to a stamped request goes to: section 18.2.2 and RFC 3581.
    pub fn response_port(&self) -> u16 {
        let via = self.top_via();
        let asked = parameter(via, "rport")
            .flatten()
            .and_then(|port| port.parse().ok());
        asked.or_else(|| sent_by(via).1).unwrap_or(5060)
    }

    /// A response to this request, with its `Via`s: section 8.2.6. The tag is that of whoever is
    /// called, if the request does not name it.
    pub fn response(&self, status: u16, reason: &str, tag: Option<&str>) -> Self {
        let of_response = |(name, _): &&(String, String)| NEEDED.contains(&name.as_str());
        let mut headers: Vec<_> = self.headers.iter().filter(of_response).cloned().collect();
        if let (Some(tag), false) = (tag, self.has_dialog()) {
            let to = headers.iter_mut().filter(|(name, _)| name == "to");
            to.for_each(|(_, value)| _ = write!(value, ";tag={tag}"));
        }
        let start = Start::Response {
            status,
            reason: reason.to_owned(),
        };
        Self {
            start,
            headers,
            body: Bytes::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn with_body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { body, ..self }.with("content-type", content_type)
    }
}

/// The `Call-ID` of a datagram that is not parsed yet: what tells calls apart.
pub fn call_id(datagram: &[u8]) -> Option<&[u8]> {
    let lines = datagram.split(|byte| *byte == b'\n');
    for line in lines
        .map(<[u8]>::trim_ascii)
        .take_while(|line| !line.is_empty())
    {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let name = name.trim_ascii_end();
        if name.eq_ignore_ascii_case(b"call-id") || name.eq_ignore_ascii_case(b"i") {
            return value.get(1..).map(<[u8]>::trim_ascii);
        }
    }
    None
}

/// A parameter after a `;`, with its value if it has one.
fn parameter<'a>(text: &'a str, name: &str) -> Option<Option<&'a str>> {
    let part = text.split(';').skip(1).find(|part| is_named(part, name))?;
    Some(part.split_once('=').map(|(_, value)| value.trim()))
}

fn is_named(part: &str, name: &str) -> bool {
    part.split('=')
        .next()
        .is_some_and(|known| known.trim().eq_ignore_ascii_case(name))
}

/// The host and port of a `Via`: `SIP/2.0/UDP host:port;...`.
fn sent_by(via: &str) -> (&str, Option<u16>) {
    let before = via.split(';').next().unwrap_or_default().trim();
    let sent_by = before
        .rsplit(char::is_whitespace)
        .next()
        .unwrap_or_default();
    let (host, port) = match sent_by.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (sent_by, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

/// An address as it stands in a URI.
pub fn host(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Both sides of the protocol send the same messages.
#[derive(Debug)]
pub struct Sip;

impl Serializer for Sip {
    type Sent = Message;
    type Received = Message;

    fn serialize(&self, message: &Message, datagram: &mut BytesMut) -> Result<(), BoxError> {
        match &message.start {
            Start::Request { method, uri } => write!(datagram, "{method} {uri} SIP/2.0\r\n")?,
            Start::Response { status, reason } => {
                write!(datagram, "SIP/2.0 {status} {reason}\r\n")?;
            }
        }
        for (name, value) in &message.headers {
            if value.contains(['\r', '\n']) {
                return Err("a header of several lines".into());
            }
            write!(datagram, "{name}: {value}\r\n")?;
        }
        write!(datagram, "content-length: {}\r\n\r\n", message.body.len())?;
        datagram.extend_from_slice(&message.body);
        Ok(())
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Message, BoxError> {
        let end = datagram.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or("the headers have no end")?;
        let mut body = &datagram[end + 4..];
        // A line that begins with a space goes on with the one before.
        let head = std::str::from_utf8(&datagram[..end])?;
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut lines = head.split("\r\n");
        let start = start(lines.next().unwrap_or_default())?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
            let name = name.trim_end().to_ascii_lowercase();
            if value.contains(['\r', '\n']) || name.is_empty() {
                return Err("a header that is none".into());
            }
            let full = COMPACT.iter().find(|(compact, _)| *compact == name);
            let name = full.map_or(name, |(_, full)| (*full).to_owned());
            if name != "content-length" {
                headers.push((name, value.trim().to_owned()));
                continue;
            }
            // What is behind it is left out, and what is missing is an error (section 18.3).
            let length = value.trim().parse()?;
            body = body.get(..length).ok_or("the body is cut")?;
        }
        let message = Message {
            start,
            headers,
            body: Bytes::copy_from_slice(body),
        };
        match NEEDED.iter().find(|name| message.header(name).is_empty()) {
            Some(name) => Err(format!("there is no {name}").into()),
            None if message.sequence().is_none() => Err("the CSeq is no number".into()),
            None => Ok(message),
        }
    }
}

fn start(line: &str) -> Result<Start, BoxError> {
    let mut words = line.splitn(3, ' ');
    let words = (words.next(), words.next(), words.next());
    match words {
        (Some("SIP/2.0"), Some(status), Some(reason)) => {
            let (status, reason) = (status.parse()?, reason.to_owned());
            Ok(Start::Response { status, reason })
        }
        (Some(method), Some(uri), Some("SIP/2.0")) if !method.is_empty() && !uri.is_empty() => {
            let (method, uri) = (method.to_owned(), uri.to_owned());
            Ok(Start::Request { method, uri })
        }
        _ => Err("neither a request nor a response of SIP/2.0".into()),
    }
}
