//! Which session a datagram belongs to: the session key is asked.

use super::Worker;
use super::served::Served;
use crate::config::{Origin, Session, SessionTag};
use crate::engine::current;
use crate::engine::delivery::{BufferSlice, Segments};
use crate::engine::dispatch::DropReason;
use crate::engine::report::Kind;
use crate::handler::ClientKey;
use crate::support::panics;

/// What the session key refuses counts as this among the parts that refuse, and where it panics as
/// this.
const REFUSED: &str = "session key";
const PANICKED: &str = "session key panicked";

impl<S: Served> Worker<S> {
    /// Datagrams have arrived, of which each may be of another session.
    #[inline(never)] // few servers have sessions
    pub(super) fn arrive_in_sessions(&mut self, client: &ClientKey, datagrams: Segments) {
        for slice in datagrams {
            let session = match self.ask_session_key(client, slice) {
                Session::Address => SessionTag::ADDRESS,
                Session::Key(id) => SessionTag::key(id),
                Session::Each => SessionTag::EACH,
                Session::Refuse => {
                    self.count_drop(DropReason::Refused, &client.remote);
                    continue;
                }
            };
            self.arrive(&ClientKey { session, ..*client }, slice);
        }
    }

    fn ask_session_key(&mut self, client: &ClientKey, slice: BufferSlice) -> Session {
        let Some(key) = &self.sessions.key else {
            return Session::Each;
        };
        let origin = Origin {
            remote: &client.remote,
            local: &client.local,
            bound: &self.shared.bound,
            secret: &self.sessions.secret,
        };
        // User code runs while the buffer is out.
        let buffer = current::with(|context| context.delivery.lend(slice)).unwrap_or_default();
        let asked = panics::catch(|| key(slice.bytes(&buffer), &origin));
        current::with(|context| context.delivery.put_back(slice, buffer));
        let refusals = &self.shared.counters.refusals;
        match asked {
            Ok(Session::Refuse) => refusals.add(REFUSED),
            Ok(session) => return session,
            Err(message) => {
                let report = &mut self.report;
                report.panicked(Kind::SessionKeyPanicked, client.remote, &message);
                refusals.add(PANICKED);
            }
        }
        Session::Refuse
    }
}
