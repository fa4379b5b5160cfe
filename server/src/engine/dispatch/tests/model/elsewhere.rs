//! Receives in other tasks.

use super::script::{Script, number};
use super::*;

/// A task that holds a handler's requests in its place.
pub(super) struct Elsewhere {
    run: Arc<Shared>,
    /// The number of the receive that waits, or 0.
    receive: u32,
    /// The last number that a receive of this task had.
    last: u32,
    /// Its waker is with the queue.
    pub(super) waiting: bool,
    /// Its deadline has passed.
    expired: bool,
}

impl Elsewhere {
    pub(super) fn new(run: Arc<Shared>) -> Self {
        Self {
            run,
            receive: 0,
            last: 0,
            waiting: false,
            expired: false,
        }
    }

    /// The receive is done or dropped.
    fn stop(&mut self) {
        if self.receive != 0 {
            let mut queue = self.run.queue.lock();
            let waiting = queue.end_receive().is_some();
            assert_eq!(waiting, self.waiting);
        }
        self.run.queue.set_not_waiting();
        (self.receive, self.waiting, self.expired) = (0, false, false);
    }

    fn begin(&mut self) {
        let mut queue = self.run.queue.lock();
        if self.receive == 0 {
            self.receive = queue.begin_receive();
            assert!(self.receive > self.last);
            self.last = self.receive;
        }
        self.run.queue.set_in_task();
        let replaced = queue.set_waker(Waker::noop().clone()).is_some();
        assert_eq!(replaced, self.waiting);
        self.waiting = true;
    }

    /// The deadline passes of the receive that waits, or of one that is over.
    fn expire(&mut self) {
        self.run.queue.lock().arm(self.last);
        let told = self.receive != 0 && self.waiting;
        let woken = self.run.queue.tell(Told::TimedOut).is_some();
        assert_eq!(woken, told);
        if woken {
            (self.waiting, self.expired) = (false, true);
        }
    }
}

impl Script {
    pub(super) fn receive_elsewhere(&mut self, client: Name, seen: &mut Seen) {
        let what = self.random.below(10);
        self.tell("elsewhere", &(client, what));
        let task = self.elsewhere.get_mut(&client).unwrap();
        match what {
            0 => {
                task.stop();
                self.elsewhere.remove(&client);
            }
            1 => {
                task.stop();
                seen.add("elsewhere: dropped");
            }
            2 | 3 if task.last != 0 => {
                if task.receive == 0 {
                    seen.add("a late deadline");
                }
                task.expire();
            }
            _ => self.take_elsewhere(client, seen),
        }
    }

    fn take_elsewhere(&mut self, client: Name, seen: &mut Seen) {
        let task = self.elsewhere.get_mut(&client).unwrap();
        let (_, model) = self.handlers.get_mut(&client).unwrap();
        let taken = task.run.queue.lock().take(&self.totals);
        match (taken, model.queue.pop_front()) {
            (Taken::Closed, None) if self.closing => {
                seen.add("elsewhere: closed");
                task.stop();
            }
            (Taken::Datagram(datagram), Some(next)) => {
                assert_eq!(number(&datagram), next);
                seen.add("elsewhere: received");
                model.received = true;
                task.run.queue.set_received();
                task.stop();
                self.deliver(client, &datagram);
            }
            (Taken::Empty, None) if task.run.queue.waiting() == Waiting::Told => {
                assert!(task.expired);
                seen.add("elsewhere: timed out");
                task.stop();
            }
            (Taken::Empty, None) if !self.closing => {
                assert!(!task.expired);
                seen.add("elsewhere: waits");
                task.begin();
            }
            (taken, next) => panic!("{taken:?}, expected {next:?}"),
        }
    }

    /// The handler has ended: from now on the requests answer closed.
    pub(super) fn forget_elsewhere(&mut self, client: Name, seen: &mut Seen) {
        let Some(task) = self.elsewhere.remove(&client) else {
            return;
        };
        if task.waiting {
            seen.add("end: a receive elsewhere is woken");
        }
        let taken = task.run.queue.lock().take(&self.totals);
        assert_eq!(taken, Taken::Closed);
        self.kept.push(task.run);
    }
}
