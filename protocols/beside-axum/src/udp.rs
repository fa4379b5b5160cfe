//! The UDP server: greets in JSON, and counts whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postbox::{DatagramProtocol, JsonSerializer, Server, ServerBuilder};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) greeting: String,
}

/// So many names are counted. Strangers choose them, so there has to be a bound.
const NAMES: usize = 1000;

/// What both servers share: how often each was greeted.
#[derive(Debug, Default)]
pub(crate) struct Greetings(Mutex<BTreeMap<String, u64>>);

impl Greetings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, name: &str) {
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(name) {
            *count += 1;
        } else if counts.len() < NAMES {
            counts.insert(name.to_owned(), 1);
        }
    }

    pub(crate) fn of(&self, name: &str) -> u64 {
        self.lock().get(name).copied().unwrap_or(0)
    }
}

/// The server's side; a client's is the other.
pub(crate) fn protocol() -> DatagramProtocol<JsonSerializer<Reply, Ask>> {
    DatagramProtocol::new(JsonSerializer::new())
}

pub(crate) fn server(greetings: &Arc<Greetings>) -> ServerBuilder {
    let greetings = Arc::clone(greetings);
    Server::builder_answer_fn(protocol(), move |ask: Ask| {
        greetings.count(&ask.name);
        let greeting = format!("Hello, {}!", ask.name);
        async { Reply { greeting } }
    })
}
