//! What is read and written with the secret that a client shares with the server.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

use super::wire::{
    ACCESS_REQUEST, AUTHENTICATOR, MESSAGE_AUTHENTICATOR, PROXY_STATE, Packet, REPLY_MESSAGE,
    USER_NAME, USER_PASSWORD,
};

pub struct Secret(Vec<u8>);

/// What a user says.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Vec<u8>,
}

impl Secret {
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    /// Reads a request, if it is of somebody who knows the secret.
    ///
    /// # Errors
    ///
    /// Why it gets no reply: RFC 2865 section 3 says *silently discard*.
    pub fn open(&self, request: &Packet) -> Result<Login, &'static str> {
        if request.code() != ACCESS_REQUEST {
            return Err("not an Access-Request");
        }
        // RFC 3579 section 3.2. It is optional there; without it a reply can be forged by whoever
        // can change the request on its way (CVE-2024-3596).
        let mac = request
            .find(MESSAGE_AUTHENTICATOR)
            .ok_or("no Message-Authenticator")?;
        let mut bytes = request.bytes.clone();
        bytes[mac.clone()].fill(0);
        self.mac(&bytes)
            .verify_slice(&request.bytes[mac])
            .map_err(|_| "a wrong Message-Authenticator: another secret")?;

        let user = request.find(USER_NAME).ok_or("no User-Name")?;
        let user =
            std::str::from_utf8(&request.bytes[user]).map_err(|_| "a User-Name in no UTF-8")?;
        let hidden = request.find(USER_PASSWORD).ok_or("no User-Password")?;
        Ok(Login {
            user: user.to_owned(),
            password: self.reveal(&request.bytes[hidden], request.authenticator())?,
        })
    }

    /// Undoes what hides a password: RFC 2865 section 5.2.
    fn reveal(&self, hidden: &[u8], authenticator: &[u8]) -> Result<Vec<u8>, &'static str> {
        if hidden.is_empty() || hidden.len() > 128 || !hidden.len().is_multiple_of(16) {
            return Err("no length of a User-Password");
        }
        let mut password = Vec::with_capacity(hidden.len());
        let mut before = authenticator;
        for block in hidden.chunks(16) {
            let pad = Md5::new()
                .chain_update(&self.0)
                .chain_update(before)
                .finalize();
            password.extend(block.iter().zip(pad).map(|(byte, pad)| byte ^ pad));
            before = block;
        }
        let length = password
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        password.truncate(length);
        Ok(password)
    }

    /// The reply to a request, with the proofs that it is of this server and to this request.
    pub fn reply(&self, code: u8, message: &str, request: &Packet) -> Packet {
        let mut reply = Packet::new(code, request.identifier(), request.authenticator());
        // First, where no other attribute can be made to look like it.
        reply.push(MESSAGE_AUTHENTICATOR, &[0; 16]);
        reply.push(REPLY_MESSAGE, message.as_bytes());
        for (_, state) in request
            .attributes()
            .filter(|(kind, _)| *kind == PROXY_STATE)
        {
            reply.push(PROXY_STATE, &request.bytes[state]); // unchanged, in their order
        }
        let mac = self.mac(&reply.bytes).finalize().into_bytes();
        if let Some(at) = reply.find(MESSAGE_AUTHENTICATOR) {
            reply.bytes[at].copy_from_slice(&mac);
        }
        // The Response Authenticator, in the place of the request's.
        let digest = Md5::new()
            .chain_update(&reply.bytes)
            .chain_update(&self.0)
            .finalize();
        reply.bytes[AUTHENTICATOR].copy_from_slice(&digest);
        reply
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Md5> {
        let mac = Hmac::<Md5>::new_from_slice(&self.0).expect("a key may have any length");
        mac.chain_update(bytes)
    }
}
