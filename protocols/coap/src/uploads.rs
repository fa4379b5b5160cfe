//! Bodies that come in blocks (RFC 7959 section 2.5).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use coap_lite::ResponseType;
use tokio::time::Instant;

use crate::resources::MOST_BYTES;
use crate::wire::Block;

/// How many are kept. One more takes the place of the one that has waited longest.
pub const MOST: usize = 64;
/// How long a message may be repeated (RFC 7252 section 4.8.2). So long the next block, or the last
/// one once more, is waited for.
pub const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);

/// The uploads of all clients, each known by who sends it and to which path: its blocks need not
/// have a token in common.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<HashMap<(SocketAddr, String), Upload>>);

#[derive(Debug)]
struct Upload {
    body: Vec<u8>,
    heard: Instant,
}

impl Uploads {
    /// Takes a block. The result is the whole body with the last one, and none before.
    ///
    /// # Errors
    ///
    /// The response, if the block cannot be the next one.
    pub fn take(
        &self,
        client: SocketAddr,
        path: &str,
        block: Block,
        bytes: &[u8],
    ) -> Result<Option<Bytes>, ResponseType> {
        let is_full = bytes.len() == block.size();
        if bytes.len() > block.size() || block.more && !is_full {
            return Err(ResponseType::BadRequest);
        }
        if block.number == 0 && !block.more {
            return Ok(Some(Bytes::copy_from_slice(bytes)));
        }
        let key = (client, path.to_owned());
        let now = Instant::now();
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.retain(|_, upload| now - upload.heard < EXCHANGE_LIFETIME);
        let end = block.begin() + bytes.len();
        if end > MOST_BYTES {
            uploads.remove(&key);
            return Err(ResponseType::RequestEntityTooLarge);
        }
        if block.number == 0 {
            if uploads.len() == MOST && !uploads.contains_key(&key) {
                let longest = uploads.iter().min_by_key(|(_, upload)| upload.heard);
                let longest = longest.map(|(key, _)| key.clone());
                longest.and_then(|longest| uploads.remove(&longest));
            }
            let (body, heard) = (Vec::new(), now);
            uploads.insert(key.clone(), Upload { body, heard });
        }
        let upload = uploads
            .get_mut(&key)
            .ok_or(ResponseType::RequestEntityIncomplete)?;
        if block.begin() == upload.body.len() {
            upload.body.extend_from_slice(bytes);
        } else if upload.body.get(block.begin()..) != Some(bytes) {
            return Err(ResponseType::RequestEntityIncomplete); // nor the last one once more
        }
        upload.heard = now;
        // It stays, as the last block may come once more.
        Ok((!block.more).then(|| Bytes::copy_from_slice(&upload.body)))
    }
}
