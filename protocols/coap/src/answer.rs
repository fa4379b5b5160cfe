//! From a request to its response.

use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::{CoapOption, MessageClass, MessageType, Packet, RequestType, ResponseType};
use tokio::sync::watch;

use crate::resources::{MOST_BYTES, Representation, Resources, may_put};
use crate::uploads::Uploads;
use crate::wire::{Block, add_number, has_bad_option, number, path, reset, response};

/// All that the server knows.
#[derive(Debug)]
pub struct Site {
    pub resources: Resources,
    pub uploads: Uploads,
}

/// What a response means for the observation with its token (RFC 7641 section 4.1).
#[derive(Debug)]
pub enum Observe {
    Begin(watch::Receiver<Representation>),
    End,
    /// Nothing.
    Leave,
}

impl Site {
    pub fn new() -> Self {
        Self {
            resources: Resources::new(),
            uploads: Uploads::default(),
        }
    }

    pub fn answer(&self, client: SocketAddr, request: &Packet) -> (Packet, Observe) {
        let proxied = |option| request.get_option(option).is_some();
        if proxied(CoapOption::ProxyUri) || proxied(CoapOption::ProxyScheme) {
            let code = ResponseType::ProxyingNotSupported;
            return (response(request, code), Observe::Leave);
        }
        if has_bad_option(request) {
            // Section 5.4.1: what wants no acknowledgement is rejected instead.
            let packet = match request.header.get_type() {
                MessageType::Confirmable => response(request, ResponseType::BadOption),
                _ => reset(request.header.message_id),
            };
            return (packet, Observe::Leave);
        }
        let path = path(request);
        let mut observe = Observe::Leave;
        let answered = match request.header.code {
            MessageClass::Request(RequestType::Get) => self.get(request, &path, &mut observe),
            MessageClass::Request(RequestType::Put) => self.put(client, request, &path),
            MessageClass::Request(RequestType::Delete) => {
                let deleted = self.resources.delete(&path);
                deleted.map(|code| response(request, code))
            }
            _ => Err(ResponseType::MethodNotAllowed),
        };
        match answered {
            Ok(packet) => (packet, observe),
            Err(code) => (refusal(request, code), observe),
        }
    }

    fn get(
        &self,
        request: &Packet,
        path: &str,
        observe: &mut Observe,
    ) -> Result<Packet, ResponseType> {
        let block = Block::of(request, CoapOption::Block2)?;
        let whole = block.is_none_or(|block| block.number == 0);
        let mut watched = match number(request, CoapOption::Observe) {
            Some(0) if whole => self.resources.watch(path),
            Some(1) => {
                *observe = Observe::End;
                None
            }
            _ => None,
        };
        let representation = match &mut watched {
            Some(watched) => watched.borrow_and_update().clone(),
            None => self.resources.get(path).ok_or(ResponseType::NotFound)?,
        };
        let wanted = number(request, CoapOption::Accept);
        if wanted.is_some() && wanted != representation.format.map(u32::from) {
            return Err(ResponseType::NotAcceptable);
        }
        let mut packet = response(request, ResponseType::Content);
        let mut known = request.get_option(CoapOption::ETag).into_iter().flatten();
        if watched.is_none() && known.any(|etag| *etag == representation.etag) {
            packet.header.code = MessageClass::Response(ResponseType::Valid);
            packet.add_option(CoapOption::ETag, representation.etag.to_vec());
            return Ok(packet);
        }
        fill(&mut packet, &representation, block)?;
        if let Some(watched) = watched {
            *observe = Observe::Begin(watched);
        }
        Ok(packet)
    }

    fn put(
        &self,
        client: SocketAddr,
        request: &Packet,
        path: &str,
    ) -> Result<Packet, ResponseType> {
        may_put(path)?;
        let block = Block::of(request, CoapOption::Block1)?;
        if number(request, CoapOption::Size1).is_some_and(|size| size as usize > MOST_BYTES) {
            return Err(ResponseType::RequestEntityTooLarge);
        }
        let body = match block {
            Some(block) => self.uploads.take(client, path, block, &request.payload)?,
            None => Some(Bytes::copy_from_slice(&request.payload)),
        };
        let format = number(request, CoapOption::ContentFormat);
        let format = format.and_then(|format| u16::try_from(format).ok());
        let code = match body {
            Some(body) => self.resources.put(path, body, format)?,
            None => ResponseType::Continue,
        };
        let mut packet = response(request, code);
        if let Some(block) = block {
            block.add(&mut packet, CoapOption::Block1);
        }
        Ok(packet)
    }
}

fn refusal(request: &Packet, code: ResponseType) -> Packet {
    let mut packet = response(request, code);
    if code == ResponseType::RequestEntityTooLarge {
        add_number(&mut packet, CoapOption::Size1, MOST_BYTES as u32);
    }
    packet
}

/// Puts a representation into a response, or one block of it.
///
/// # Errors
///
/// The response, if there is no such block.
pub fn fill(
    packet: &mut Packet,
    representation: &Representation,
    wanted: Option<Block>,
) -> Result<(), ResponseType> {
    let body = &representation.body;
    let mut block = wanted.unwrap_or(Block::FIRST);
    let end = body.len().min(block.begin() + block.size());
    if block.number > 0 && block.begin() >= end {
        return Err(ResponseType::BadRequest);
    }
    packet.payload = body[block.begin()..end].to_vec();
    packet.add_option(CoapOption::ETag, representation.etag.to_vec());
    if let Some(format) = representation.format {
        add_number(packet, CoapOption::ContentFormat, format.into());
    }
    if let Some(max_age) = representation.max_age {
        add_number(packet, CoapOption::MaxAge, max_age);
    }
    block.more = end < body.len();
    if wanted.is_some() || block.more {
        block.add(packet, CoapOption::Block2);
    }
    if block.number == 0 && block.more {
        add_number(packet, CoapOption::Size2, body.len() as u32);
    }
    Ok(())
}
