//! The messages of syslog: RFC 5424, and what was sent before it (RFC 3164). Over UDP a datagram is
//! a message (RFC 5426).

use std::convert::Infallible;

use bytes::BytesMut;
use postbox::{BoxError, Serializer};

/// One message. What it does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// 0 to 23.
    pub facility: u8,
    /// 0 to 7: from an emergency down to debug.
    pub severity: u8,
    /// As it was sent: in the style of RFC 3339, or as `Oct 11 22:14:15`.
    pub timestamp: Option<String>,
    pub hostname: Option<String>,
    pub app_name: Option<String>,
    pub process_id: Option<String>,
    pub message_id: Option<String>,
    /// As it was sent, with its brackets.
    pub structured_data: Option<String>,
    pub text: String,
}

/// Nothing is ever sent.
#[derive(Debug)]
pub struct Syslog;

impl Serializer for Syslog {
    type Sent = Infallible;
    type Received = Message;

    fn serialize(&self, nothing: &Infallible, _: &mut BytesMut) -> Result<(), BoxError> {
        match *nothing {}
    }

    fn deserialize(&self, datagram: &[u8]) -> Result<Message, BoxError> {
        let (priority, rest) = priority(datagram)?;
        let empty = Message {
            facility: priority / 8,
            severity: priority % 8,
            timestamp: None,
            hostname: None,
            app_name: None,
            process_id: None,
            message_id: None,
            structured_data: None,
            text: String::new(),
        };
        match rest.strip_prefix(b"1 ") {
            Some(rest) => rfc5424(empty, rest),
            None => Ok(rfc3164(empty, rest)),
        }
    }
}

/// Up to 191, in angle brackets: all that both formats share.
fn priority(datagram: &[u8]) -> Result<(u8, &[u8]), BoxError> {
    let rest = datagram.strip_prefix(b"<").ok_or("it has no priority")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>');
    let digits = &rest[..end.ok_or("its priority has no end")?];
    let leads_with_zero = digits.len() > 1 && digits[0] == b'0';
    if digits.is_empty() || leads_with_zero || !digits.iter().all(u8::is_ascii_digit) {
        return Err("its priority is no number".into());
    }
    let priority: u16 = std::str::from_utf8(digits)?.parse()?;
    let known = u8::try_from(priority).ok().filter(|value| *value <= 191);
    let known = known.ok_or_else(|| format!("no priority is {priority}"))?;
    Ok((known, &rest[digits.len() + 1..]))
}

/// Section 6, from behind the version.
fn rfc5424(mut message: Message, mut rest: &[u8]) -> Result<Message, BoxError> {
    let rest = &mut rest;
    message.timestamp = field(rest, 32, "timestamp")?;
    if let Some(timestamp) = &message.timestamp
        && !is_rfc3339(timestamp)
    {
        return Err("its timestamp is none".into());
    }
    message.hostname = field(rest, 255, "host name")?;
    message.app_name = field(rest, 48, "application name")?;
    message.process_id = field(rest, 128, "process id")?;
    message.message_id = field(rest, 32, "message id")?;
    message.structured_data = structured_data(rest)?;
    let text = match rest {
        [] => &[][..],
        [b' ', text @ ..] => text,
        _ => return Err("something follows its structured data".into()),
    };
    // With the mark it is UTF-8, without it may be anything.
    message.text = lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
    Ok(message)
}

/// Reads printable ASCII up to a space, and over that.
fn field(rest: &mut &[u8], longest: usize, name: &str) -> Result<Option<String>, BoxError> {
    let space = rest.iter().position(|byte| *byte == b' ');
    let (field, after) = rest.split_at(space.ok_or_else(|| format!("its {name} has no end"))?);
    let length = 1..=longest;
    if !length.contains(&field.len()) || !field.iter().all(u8::is_ascii_graphic) {
        return Err(format!("its {name} is none").into());
    }
    *rest = &after[1..];
    Ok((field != b"-").then(|| lossy(field)))
}

/// `2003-10-11T22:14:15.003Z`, or with an offset.
fn is_rfc3339(text: &str) -> bool {
    let Some((moment, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let zone = match rest.strip_prefix('.') {
        Some(rest) => {
            let zone = rest.trim_start_matches(|byte: char| byte.is_ascii_digit());
            let digits = 1..=6;
            if !digits.contains(&(rest.len() - zone.len())) {
                return false;
            }
            zone
        }
        None => rest,
    };
    let zones = ["Z", "+00:00", "-00:00"];
    is_like(moment, "0000-00-00T00:00:00") && zones.iter().any(|shape| is_like(zone, shape))
}

/// Whether it has this shape, in which 0 stands for a digit, and everything else for itself.
fn is_like(text: &str, shape: &str) -> bool {
    let like = |(byte, shape): (u8, u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        shape => byte == shape,
    };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(like)
}

/// Section 6.3: `-`, or elements in brackets, one after the other.
fn structured_data(rest: &mut &[u8]) -> Result<Option<String>, BoxError> {
    if let Some(after) = rest.strip_prefix(b"-") {
        *rest = after;
        return Ok(None);
    }
    let mut end = 0;
    while rest.get(end) == Some(&b'[') {
        let length = element(&rest[end..]).ok_or("its structured data is none")?;
        end += length;
    }
    if end == 0 {
        return Err("it has no structured data".into());
    }
    let (data, after) = rest.split_at(end);
    *rest = after;
    Ok(Some(lossy(data)))
}

/// The length of the element that begins here: `[name name="value" name="value"]`.
fn element(bytes: &[u8]) -> Option<usize> {
    let mut at = 1 + name(&bytes[1..])?;
    loop {
        match bytes.get(at)? {
            b']' => return Some(at + 1),
            b' ' => at += 1,
            _ => return None,
        }
        at += name(&bytes[at..])?;
        at += bytes[at..].starts_with(b"=\"").then_some(2)?;
        loop {
            match bytes.get(at)? {
                b'"' => break,
                b'\\' => at += 2, // whatever follows is part of the value
                b']' => return None,
                _ => at += 1,
            }
        }
        at += 1;
    }
}

/// The length of the name that begins here.
fn name(bytes: &[u8]) -> Option<usize> {
    let is_part = |byte: &u8| byte.is_ascii_graphic() && !b"=]\"".contains(byte);
    let length = bytes.iter().take_while(|byte| is_part(byte)).count();
    (1..=32).contains(&length).then_some(length)
}

/// Section 4: what there is of `Oct 11 22:14:15 host tag[12]: text`. Anything is a text, so this
/// has no errors.
fn rfc3164(mut message: Message, rest: &[u8]) -> Message {
    let text = lossy(rest);
    // Senders end it like a line, or like a string of C.
    let mut rest = text.trim_end_matches(['\n', '\r', '\0']);
    if let Some((timestamp, after)) = rest.split_at_checked(16)
        && is_bsd_time(timestamp)
    {
        message.timestamp = Some(timestamp.trim_end().to_owned());
        rest = after;
        // Some leave their name out.
        if let Some((host, after)) = rest.split_once(' ')
            && !host.is_empty()
            && !host.ends_with(':')
        {
            message.hostname = Some(host.to_owned());
            rest = after;
        }
    }
    if let Some((app_name, process_id, after)) = tag(rest) {
        message.app_name = Some(app_name.to_owned());
        message.process_id = process_id.map(str::to_owned);
        rest = after;
    }
    rest.clone_into(&mut message.text);
    message
}

fn is_bsd_time(text: &str) -> bool {
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    text.split_at_checked(3).is_some_and(|(month, rest)| {
        let shapes = [" 00 00:00:00 ", "  0 00:00:00 "];
        months.contains(&month) && shapes.iter().any(|shape| is_like(rest, shape))
    })
}

/// The name, the process, and the text behind `tag[12]: ` or `tag: `.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find([':', '[', ' '])?;
    let (name, rest) = text.split_at(end);
    let (process, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(id, rest)| (Some(id), rest))?,
        None => (None, rest),
    };
    let text = rest.strip_prefix(':')?;
    let is_tag = !name.is_empty() && name.len() <= 48;
    is_tag.then(|| (name, process, text.strip_prefix(' ').unwrap_or(text)))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
