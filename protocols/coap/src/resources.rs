//! What the server knows: resources by their paths, in memory, each with those who watch it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use coap_lite::ResponseType;
use tokio::sync::watch;
use tokio::time::{Instant, interval};

/// The resources that clients cannot change.
pub const CORE: &str = "/.well-known/core";
pub const TIME: &str = "/time";

/// What strangers can make the server keep: 16 MiB.
pub const MOST_RESOURCES: usize = 256;
pub const MOST_BYTES: usize = 64 * 1024;
const LONGEST_PATH: usize = 255;

/// The Content-Formats (RFC 7252 section 12.3) of the server's own resources.
const TEXT: u16 = 0;
const LINKS: u16 = 40;

/// What a resource is at one time.
#[derive(Debug, Clone)]
pub struct Representation {
    pub body: Bytes,
    /// Its Content-Format, if whoever put it said so.
    pub format: Option<u16>,
    /// For how many seconds it may be kept elsewhere, where that is not the usual minute.
    pub max_age: Option<u32>,
    /// Tells it from others of the resource.
    pub etag: [u8; 8],
    /// How often the resource has changed: orders its notifications (RFC 7641 section 4.4).
    pub version: u32,
}

impl Representation {
    fn new(body: Bytes, format: Option<u16>) -> Self {
        let mut hasher = DefaultHasher::new();
        (&body, format).hash(&mut hasher);
        Self {
            body,
            format,
            max_age: None,
            etag: hasher.finish().to_be_bytes(),
            version: 0,
        }
    }
}

#[derive(Debug)]
pub struct Resources {
    kept: Mutex<Kept>,
    began: (SystemTime, Instant),
}

#[derive(Debug, Default)]
struct Kept {
    by_path: BTreeMap<String, watch::Sender<Representation>>,
    /// What `CORE` is, until the next change.
    core: Option<Representation>,
}

impl Resources {
    pub fn new() -> Self {
        let resources = Self {
            kept: Mutex::default(),
            began: (SystemTime::now(), Instant::now()),
        };
        resources.set_time();
        resources
    }

    /// Sets the time each second, for ever.
    pub async fn keep_time(&self) {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            self.set_time();
        }
    }

    fn set_time(&self) {
        let (system, instant) = self.began;
        let now = (system + instant.elapsed()).duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs().to_string();
        let mut time = Representation::new(now.into(), Some(TEXT));
        time.max_age = Some(1);
        self.kept().set(TIME, time);
    }

    pub fn get(&self, path: &str) -> Option<Representation> {
        let mut kept = self.kept();
        if path == CORE {
            return Some(kept.core());
        }
        Some(kept.by_path.get(path)?.borrow().clone())
    }

    /// A resource, as it is and as it changes. It is closed once the resource is deleted.
    pub fn watch(&self, path: &str) -> Option<watch::Receiver<Representation>> {
        Some(self.kept().by_path.get(path)?.subscribe())
    }

    /// Makes a resource, or changes what it is.
    ///
    /// # Errors
    ///
    /// If it may not be, or there is no room.
    pub fn put(
        &self,
        path: &str,
        body: Bytes,
        format: Option<u16>,
    ) -> Result<ResponseType, ResponseType> {
        may_put(path)?;
        let representation = Representation::new(body, format);
        let mut kept = self.kept();
        let is_new = !kept.by_path.contains_key(path);
        if is_new && kept.by_path.len() > MOST_RESOURCES {
            return Err(ResponseType::ServiceUnavailable); // with the time, it is one more
        }
        kept.set(path, representation);
        kept.core = None;
        Ok(match is_new {
            true => ResponseType::Created,
            false => ResponseType::Changed,
        })
    }

    /// Deletes a resource, if there is one (RFC 7252 section 5.8.4).
    ///
    /// # Errors
    ///
    /// If it may not be.
    pub fn delete(&self, path: &str) -> Result<ResponseType, ResponseType> {
        not_own(path)?;
        let mut kept = self.kept();
        kept.by_path.remove(path);
        kept.core = None;
        Ok(ResponseType::Deleted)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a client may put something there, as far as the path tells.
///
/// # Errors
///
/// The response, if not.
pub fn may_put(path: &str) -> Result<(), ResponseType> {
    if path.len() > LONGEST_PATH {
        return Err(ResponseType::Forbidden);
    }
    not_own(path)
}

fn not_own(path: &str) -> Result<(), ResponseType> {
    match path {
        CORE | TIME => Err(ResponseType::MethodNotAllowed),
        _ => Ok(()),
    }
}

impl Kept {
    fn set(&mut self, path: &str, mut representation: Representation) {
        if let Some(resource) = self.by_path.get(path) {
            resource.send_modify(|was| {
                representation.version = was.version.wrapping_add(1);
                *was = representation;
            });
        } else {
            let resource = watch::Sender::new(representation);
            self.by_path.insert(path.to_owned(), resource);
        }
    }

    /// All resources, as links (RFC 6690).
    fn core(&mut self) -> Representation {
        let by_path = &self.by_path;
        let list = || {
            let mut links = format!("<{CORE}>;ct={LINKS}");
            for (path, resource) in by_path {
                let _ = write!(links, ",<{path}>");
                if let Some(format) = resource.borrow().format {
                    let _ = write!(links, ";ct={format}");
                }
                links.push_str(";obs");
            }
            Representation::new(links.into(), Some(LINKS))
        };
        self.core.get_or_insert_with(list).clone()
    }
}
