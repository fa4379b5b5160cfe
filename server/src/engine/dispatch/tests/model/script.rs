//! One random script.

use ahash::RandomState;

use super::elsewhere::Elsewhere;
use super::*;

/// The bytes of a datagram tell its number, its client and its length.
fn bytes(number: u32, client: Name, len: usize) -> Box<[u8]> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.push(client as u8);
    bytes.resize(len.max(5), 0);
    bytes.into()
}

pub(super) struct Script {
    pub(super) random: Random,
    tell: bool,
    pub(super) dispatch: Dispatch<Arc<Shared>>,
    pub(super) totals: Totals,
    pub(super) limits: QueueLimits,
    max_clients: usize,
    pub(super) when_full: WhenFull,
    /// How many slots there have been, and where the hand is.
    pub(super) slots: usize,
    pub(super) hand: usize,
    max_of_prefix: usize,
    pub(super) max_bytes: usize,
    pub(super) closing: bool,
    /// Client objects that somebody keeps.
    pub(super) kept: Vec<Arc<Shared>>,
    pub(super) handlers: BTreeMap<Name, (SlotId, Model)>,
    pub(super) elsewhere: BTreeMap<Name, Elsewhere>,
    /// What each queued datagram costs.
    pub(super) costs: BTreeMap<u32, usize>,
    /// Those that came in one buffer with the one that is handed on.
    pub(super) behind: VecDeque<QueuedDatagram>,
    /// Numbers the datagrams.
    arrived: u32,
    delivered: usize,
    pub(super) discarded: usize,
    pub(super) dropped: usize,
    /// The last datagram that each client's handlers received.
    last: BTreeMap<Name, u32>,
}

const CLIENTS: [Name; 5] = ['a', 'A', 'b', 'B', 'c'];
const STEPS: usize = 60;

/// The number in a datagram.
pub(super) fn number(datagram: &QueuedDatagram) -> u32 {
    u32::from_le_bytes(datagram.bytes[..4].try_into().unwrap())
}

/// What scripts are to have come across.
pub(super) const EVERYTHING: &[&str] = &[
    "arrival for a closed server",
    "arrival refused",
    "arrival over the bound of clients",
    "arrival over the bound of its prefix",
    "arrival evicts",
    "arrival evicts nobody",
    "arrival starts a handler",
    "arrival delivered",
    "arrival queued",
    "queued",
    "queued: wake",
    "dropped: client's bound",
    "dropped: total",
    "handler parked",
    "handler busy",
    "offered datagram left",
    "end: discards",
    "end: discards, and another starts",
    "end: the offered datagram arrives again",
    "end: another starts",
    "end: forgotten",
    "end: forgotten, run kept by somebody",
    "end: a receive elsewhere is woken",
    "a place is used again",
    "elsewhere: received",
    "elsewhere: timed out",
    "elsewhere: closed",
    "elsewhere: waits",
    "elsewhere: dropped",
    "a late deadline",
    "close with datagrams queued",
    "close with a receive elsewhere",
];

impl Script {
    pub(super) fn new(seed: u64, tell: bool) -> Self {
        let mut random = Random(seed);
        let cost = 5 + DATAGRAM_OVERHEAD;
        let limits = QueueLimits {
            datagrams: 1 + random.below(5),
            bytes: cost * (1 + random.below(6)),
        };
        let (max_clients, max_bytes) = (1 + random.below(5), cost * (1 + random.below(12)));
        let when_full = match random.one_in(3) {
            true => WhenFull::Refuse,
            false => WhenFull::Evict,
        };
        let max_of_prefix = 1 + random.below(3);
        Self {
            tell,
            dispatch: Dispatch::new(limits, when_full, KEPT, 1),
            when_full,
            slots: 0,
            hand: 0,
            totals: Totals::new(max_clients, max_bytes)
                .clients_per_prefix_by(Some(max_of_prefix), RandomState::with_seeds(1, 2, 3, 4)),
            limits,
            max_clients,
            max_of_prefix,
            max_bytes,
            closing: false,
            kept: Vec::new(),
            handlers: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            costs: BTreeMap::new(),
            behind: VecDeque::new(),
            arrived: 0,
            delivered: 0,
            discarded: 0,
            dropped: 0,
            last: BTreeMap::new(),
            random,
        }
    }

    pub(super) fn run(mut self, seen: &mut Seen) {
        for _ in 0..STEPS {
            self.step(seen);
            self.check();
        }
        if self.random.one_in(2) {
            self.close(seen);
        }
        // Everybody ends: nothing must be left.
        while let Some((&client, &(id, _))) = self.handlers.iter().next() {
            self.tell("ends", &client);
            if self.end(client, id, false, seen).1 {
                self.check_start(client, id);
            }
            self.check();
        }
        assert_eq!(self.dispatch.running().count(), 0);
        assert_eq!(self.dispatch.table.len(), 0);
        let totals = &self.totals;
        assert_eq!(
            (totals.clients(), totals.datagrams(), totals.bytes()),
            (0, 0, 0)
        );
        for run in &self.kept {
            assert_eq!(take(run, totals), Taken::Closed);
        }
    }

    pub(super) fn tell(&self, what: &str, with: &dyn std::fmt::Debug) {
        if self.tell {
            println!("{what} {with:?}");
        }
    }

    fn step(&mut self, seen: &mut Seen) {
        let running: Vec<Name> = self.handlers.keys().copied().collect();
        let elsewhere: Vec<Name> = self.elsewhere.keys().copied().collect();
        match self.random.below(100) {
            0..50 => self.arrive(seen),
            50..70 => {
                if let Some(client) = self.random.pick(&running) {
                    self.tell("polled", &client);
                    self.poll(client, None, seen);
                }
            }
            70..88 => {
                if let Some(client) = self.random.pick(&elsewhere) {
                    self.receive_elsewhere(client, seen);
                }
            }
            88..94 => {
                if let Some(client) = self.random.pick(&running) {
                    let run = self.dispatch.task(self.handlers[&client].0);
                    self.kept.push(Arc::clone(run));
                }
            }
            94..99 => self.kept.clear(),
            _ => {
                if self.random.one_in(3) {
                    self.close(seen);
                }
            }
        }
    }

    /// What must be true at any time.
    fn check(&self) {
        let queued: Vec<u32> = self
            .handlers
            .values()
            .flat_map(|(_, m)| &m.queue)
            .copied()
            .collect();
        let cost: usize = queued.iter().map(|number| self.costs[number]).sum();
        assert_eq!(self.totals.datagrams(), queued.len());
        assert_eq!(self.totals.bytes(), cost);
        assert_eq!(self.totals.clients(), self.handlers.len());
        assert_eq!(self.dispatch.table.len(), self.handlers.len());
        assert_eq!(self.dispatch.running().count(), self.handlers.len());
        for (client, (id, model)) in &self.handlers {
            assert_eq!(
                self.dispatch.find(client),
                Some(*id),
                "one handler a client"
            );
            assert_eq!(self.dispatch.task(*id).client, *client);
            let bytes: usize = model.queue.iter().map(|number| self.costs[number]).sum();
            assert!(model.queue.len() <= self.limits.datagrams && bytes <= self.limits.bytes);
        }
        assert!(cost <= self.max_bytes && self.handlers.len() <= self.max_clients);
        let accounted = self.delivered + self.discarded + self.dropped + queued.len();
        assert_eq!(
            self.arrived as usize, accounted,
            "every datagram is accounted for"
        );
    }

    /// The clients with a handler that are of this one's prefix.
    fn of_prefix(&self, client: Name) -> usize {
        let clients = self.handlers.keys();
        clients
            .filter(|other| other.eq_ignore_ascii_case(&client))
            .count()
    }

    /// One datagram, or several in one buffer.
    fn arrive(&mut self, seen: &mut Seen) {
        let client = CLIENTS[self.random.below(CLIENTS.len())];
        let count = if self.random.one_in(4) { 3 } else { 1 };
        for _ in 0..count {
            let len = if self.random.one_in(4) {
                self.random.below(80)
            } else {
                0
            };
            self.arrived += 1;
            let datagram = QueuedDatagram {
                bytes: bytes(self.arrived, client, len),
                ..QueuedDatagram::default()
            };
            self.costs.insert(self.arrived, datagram.cost());
            self.behind.push_back(datagram);
        }
        while let Some(datagram) = self.behind.pop_front() {
            self.arrive_one(client, datagram, seen);
        }
    }

    fn arrive_one(&mut self, client: Name, datagram: QueuedDatagram, seen: &mut Seen) {
        let mut datagram = Some(datagram);
        while let Some(arriving) = datagram.take() {
            datagram = self.arrives(client, arriving, seen);
        }
    }

    /// Returns the datagram where it arrives again.
    fn arrives(
        &mut self,
        client: Name,
        datagram: QueuedDatagram,
        seen: &mut Seen,
    ) -> Option<QueuedDatagram> {
        let admitted = !self.random.one_in(10);
        let expected = match self.handlers.get(&client) {
            _ if self.closing => Arrival::Drop(DropReason::Shutdown),
            _ if !admitted => Arrival::Drop(DropReason::Refused),
            Some((id, model)) if model.parked => Arrival::Deliver(*id),
            Some((id, _)) => Arrival::Queue(*id),
            None if self.of_prefix(client) == self.max_of_prefix => {
                Arrival::Drop(DropReason::Prefix)
            }
            None if self.handlers.len() == self.max_clients => self.makes_room(),
            None => Arrival::Start,
        };
        if let Some((_, model)) = self.handlers.get_mut(&client)
            && !self.closing
            && admitted
        {
            model.marked = true;
        }
        let arrival = self.dispatch.arrive(&client, &self.totals, |_| admitted);
        self.tell("arrives", &(number(&datagram), client, &arrival));
        assert_eq!(arrival, expected);
        match arrival {
            Arrival::Wait => unreachable!("nothing is for one datagram alone"),
            Arrival::Start => {
                seen.add("arrival starts a handler");
                self.start(client, seen);
                return self.poll(client, Some(datagram), seen);
            }
            Arrival::Deliver(_) => {
                seen.add("arrival delivered");
                assert!(
                    self.handlers[&client].1.queue.is_empty(),
                    "nothing is overtaken"
                );
                return self.poll(client, Some(datagram), seen);
            }
            Arrival::Evict(id) => return self.evict(id, client, datagram, seen),
            Arrival::Queue(_) => {
                seen.add("arrival queued");
                self.queue(client, datagram, seen);
            }
            Arrival::Drop(reason) => {
                self.dropped += 1;
                seen.add(match reason {
                    DropReason::Shutdown => "arrival for a closed server",
                    DropReason::Refused => "arrival refused",
                    DropReason::Clients => "arrival over the bound of clients",
                    DropReason::Prefix => "arrival over the bound of its prefix",
                    DropReason::ClientBound | DropReason::TotalBound => "never on arrival",
                });
            }
        }
        None
    }

    fn close(&mut self, seen: &mut Seen) {
        self.tell("closes", &());
        let queued: usize = self
            .handlers
            .values()
            .map(|(_, model)| model.queue.len())
            .sum();
        let waiting = self.elsewhere.values().filter(|task| task.waiting).count();
        let (dropped, wake) = self.dispatch.close(&self.totals);
        assert_eq!((dropped, wake.len()), (queued, waiting));
        self.closing = true;
        self.dropped += dropped;
        for (_, model) in self.handlers.values_mut() {
            model.queue.clear();
            model.parked = false;
        }
        for task in self.elsewhere.values_mut() {
            task.waiting = false;
        }
        if queued > 0 {
            seen.add("close with datagrams queued");
        }
        if waiting > 0 {
            seen.add("close with a receive elsewhere");
        }
    }

    /// A receive handed a datagram out.
    pub(super) fn deliver(&mut self, client: Name, datagram: &QueuedDatagram) {
        let number = number(datagram);
        self.tell("received", &(client, number));
        assert_eq!(datagram.bytes[4], client as u8, "another client's datagram");
        let before = self.last.insert(client, number);
        assert!(before < Some(number), "{number} after {before:?}");
        self.delivered += 1;
    }
}
