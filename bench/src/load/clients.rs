//! What each client has asked and not been answered.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// The first client's address is 127.1.0.0, and so on upwards.
const FIRST: u32 = 0x7f01_0000;

pub(super) struct Clients {
    window: usize,
    /// When each was asked, in order for each client: a ring of `window` places.
    asked: Vec<u64>,
    /// The place of each client's oldest request, and how many there are.
    heads: Vec<u16>,
    open: Vec<u16>,
    open_in_all: usize,
    /// Who may ask again, once for each request.
    ready: VecDeque<u32>,
}

impl Clients {
    pub(super) fn new(clients: usize, window: usize) -> Self {
        let window = window.clamp(1, usize::from(u16::MAX));
        Self {
            window,
            asked: vec![0; clients * window],
            heads: vec![0; clients],
            open: vec![0; clients],
            open_in_all: 0,
            ready: VecDeque::new(),
        }
    }

    /// Lets each client ask `times`, in turn.
    pub(super) fn let_ask(&mut self, times: usize) {
        for _ in 0..times.min(self.window) {
            self.ready.extend(0..self.heads.len() as u32);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    pub(super) fn open(&self) -> usize {
        self.open_in_all
    }

    /// Who asks next.
    pub(super) fn next(&mut self) -> Option<usize> {
        self.ready.pop_front().map(|client| client as usize)
    }

    pub(super) fn ask_again(&mut self, client: usize) {
        self.ready.push_back(client as u32);
    }

    pub(super) fn asks(&mut self, client: usize, now: u64) {
        let place =
            (usize::from(self.heads[client]) + usize::from(self.open[client])) % self.window;
        self.asked[client * self.window + place] = now;
        self.open[client] += 1;
        self.open_in_all += 1;
    }

    /// Takes back the latest request, which did not leave.
    pub(super) fn did_not_ask(&mut self, client: usize) {
        self.open[client] -= 1;
        self.open_in_all -= 1;
        self.ready.push_front(client as u32);
    }

    /// Ends the oldest request, and answers when it was asked.
    pub(super) fn is_answered(&mut self, client: usize) -> Option<u64> {
        self.open[client] = self.open[client].checked_sub(1)?;
        let head = usize::from(self.heads[client]);
        self.heads[client] = ((head + 1) % self.window) as u16;
        self.open_in_all -= 1;
        Some(self.asked[client * self.window + head])
    }

    /// Gives up what was asked before `limit`, has it asked again, and answers how much that is.
    pub(super) fn give_up(&mut self, limit: u64) -> u64 {
        let mut lost = 0;
        for client in 0..self.len() {
            while self.open[client] > 0
                && self.asked[client * self.window + usize::from(self.heads[client])] < limit
            {
                self.is_answered(client);
                self.ask_again(client);
                lost += 1;
            }
        }
        lost
    }
}

/// A client's address.
pub(super) fn address(client: usize) -> Ipv4Addr {
    (FIRST + client as u32).into()
}

/// The client of an address.
pub(super) fn client_at(address: Ipv4Addr) -> Option<usize> {
    u32::from(address)
        .checked_sub(FIRST)
        .map(|client| client as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_clients_have_addresses_of_their_own() {
        for client in [0, 1, 255, 256, 65_536, 999_999] {
            assert!(address(client).is_loopback());
            assert_eq!(client_at(address(client)), Some(client));
        }
        assert_eq!(client_at(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn requests_are_answered_in_order() {
        let mut clients = Clients::new(2, 2);
        clients.let_ask(2);
        let order: Vec<_> = std::iter::from_fn(|| clients.next()).collect();
        assert_eq!(order, [0, 1, 0, 1]);
        for (now, client) in (10..).zip(order) {
            clients.asks(client, now);
        }
        assert_eq!(clients.open(), 4);
        assert_eq!(clients.is_answered(0), Some(10));
        clients.asks(0, 14);
        assert_eq!(clients.is_answered(0), Some(12));
        clients.did_not_ask(0);
        assert_eq!((clients.is_answered(0), clients.next()), (None, Some(0)));
    }

    #[test]
    fn what_is_lost_is_asked_again() {
        let mut clients = Clients::new(2, 1);
        clients.asks(0, 10);
        clients.asks(1, 20);
        assert_eq!(clients.give_up(20), 1);
        assert_eq!(
            (clients.open(), clients.next(), clients.next()),
            (1, Some(0), None)
        );
    }
}
