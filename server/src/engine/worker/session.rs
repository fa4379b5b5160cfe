//! Which session a datagram belongs to: the session key is asked.

use super::Worker;
use super::served::Served;
use crate::config::{Origin, Session, SessionKey, SessionTag};
use crate::engine::current;
use crate::engine::delivery::BufferSlice;
use crate::engine::dispatch::DropReason;
use crate::engine::report::Kind;
use crate::handler::ClientKey;
use crate::support::panics;

/// What the session key refuses counts as this among the parts that refuse, and where it panics as
/// this.
const REFUSED: &str = "session key";
const PANICKED: &str = "session key panicked";

impl<S: Served> Worker<S> {
    /// One datagram has arrived, of the session that the session key says.
    #[inline(never)] // few servers have one
    pub(super) fn arrive_in_session(&mut self, client: &mut ClientKey, slice: BufferSlice) {
        let asked = match &self.sessions.key {
            Some(key) => self.ask(&**key, client, slice),
            None => Ok(Session::Address),
        };
        client.session = match asked {
            Ok(Session::Address) => SessionTag::ADDRESS,
            Ok(Session::Key(id)) => SessionTag::key(id),
            Ok(Session::Each) => SessionTag::EACH,
            Ok(Session::Refuse) => return self.refused(client, REFUSED),
            Err(message) => {
                let report = &mut self.report;
                report.panicked(Kind::SessionKeyPanicked, client.remote, &message);
                return self.refused(client, PANICKED);
            }
        };
        self.arrive(client, slice);
    }

    /// The one user code that runs while the worker lends its buffers: so the bytes stay where they
    /// are. What it sends goes the way of other threads.
    #[inline]
    fn ask(
        &self,
        key: &SessionKey,
        client: &ClientKey,
        slice: BufferSlice,
    ) -> Result<Session, String> {
        let origin = Origin {
            remote: &client.remote,
            local: &client.local,
            bound: &self.shared.bound,
            secret: &self.sessions.secret,
        };
        let asked = current::with(|context| {
            let datagram = context.delivery.bytes(slice);
            panics::catch(|| key(datagram, &origin))
        });
        asked.unwrap_or(Ok(Session::Refuse)) // never: buffers are lent
    }

    #[cold]
    fn refused(&mut self, client: &ClientKey, part: &'static str) {
        self.shared.counters.refusals.add(part);
        self.count_drop(DropReason::Refused, &client.remote);
    }
}
