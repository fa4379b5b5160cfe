//! Which session a datagram belongs to: the session key is asked.

use super::Worker;
use super::served::Served;
use crate::config::{Origin, Session, SessionKey, SessionTag};
use crate::engine::answers::Answers;
use crate::engine::current;
use crate::engine::delivery::BufferSlice;
use crate::engine::dispatch::{DropReason, SlotId};
use crate::engine::report::Kind;
use crate::engine::run_send::cost;
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
            Ok(Session::Once(id)) => {
                client.session = SessionTag::question(id);
                return self.arrive_once(client, slice);
            }
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

    /// A question has arrived, which is handled at most once.
    fn arrive_once(&mut self, client: &ClientKey, slice: BufferSlice) {
        self.close_if_asked();
        let now = self.timers.now();
        let new = || Box::new(Answers::of_server(&self.shared.limits));
        let known = self.answers.get_or_insert_with(new).get(client, now);
        let runs = self.dispatch.find(client).is_some();
        if self.dispatch.is_closing() || (known.is_none() && !runs) {
            return self.arrive(client, slice);
        }
        let (shared, report) = (&self.shared, &mut self.report);
        if !(self.gate).admits(client, slice.len(), runs, now, shared, report) {
            return self.count_drop(DropReason::Refused, &client.remote);
        }
        let (room, counters) = (&shared.inject.room, &shared.counters);
        if let Some(Some(answer)) = known
            && let Ok(taken) = room.try_acquire_many(cost(answer))
        {
            taken.forget();
            current::with(|context| context.outbox.push(client, answer));
            counters.answered_again.add(1);
        } else {
            counters.dropped_repeated.add(1); // its answer is on its way, or there is none
        }
    }

    /// The handler of a question has ended.
    #[cold]
    pub(super) fn handled_once(&mut self, id: SlotId) {
        let run = &self.dispatch.task(id).run;
        let (question, inject) = (run.client(), &self.shared.inject);
        let on_its_way = || {
            current::with(|context| {
                inject.take_sends(&mut context.outbox);
                context.outbox.has_answer(&question)
            })
        };
        // What has left is kept since then, for its time.
        if run.has_answered() && on_its_way() == Some(false) {
            return;
        }
        let now = self.timers.now();
        if let Some(answers) = &mut self.answers {
            let early = answers.handled(&question, now);
            self.shared.counters.answers_forgotten.add(early);
            self.report.lost(Kind::Forgotten, None, early);
        }
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
