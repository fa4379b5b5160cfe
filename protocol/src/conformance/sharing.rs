//! The rules of one object that serves all.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread;

use crate::Serializer;
use crate::conformance::Conformance;

const THREADS: usize = 4;
const ROUNDS: usize = 16;

impl<Near, Far> Conformance<Near, Far>
where
    Near: Serializer<Sent: PartialEq + fmt::Debug>,
    Far: Serializer<Sent = Near::Received, Received = Near::Sent>,
{
    pub(super) fn keeps_no_state(&self) {
        let rule = "keeps no state";
        let datagrams: Vec<_> = self
            .packets
            .iter()
            .map(|packet| self.datagram(rule, packet))
            .collect();
        for (datagram, packet) in datagrams.iter().zip(&self.packets).rev() {
            self.says(rule, datagram, packet);
            self.says(rule, datagram, packet);
        }
    }

    pub(super) fn is_shared_by_threads(&self)
    where
        Near::Sent: Sync,
    {
        let rule = "is shared by threads";
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            let work = || {
                start.wait();
                for packet in self
                    .packets
                    .iter()
                    .cycle()
                    .take(ROUNDS * self.packets.len())
                {
                    self.says(rule, &self.datagram(rule, packet), packet);
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                if let Err(panic) = thread.join() {
                    resume_unwind(panic);
                }
            }
        });
    }
}
