//! A server's end of the network in memory: addresses, groups, faults.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::transport::memory::MemoryTransport;
use crate::transport::{Endpoint, MemoryEndpoint, MemoryNetwork};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn bind(
    network: &MemoryNetwork,
    addr: SocketAddr,
    group: usize,
) -> io::Result<Vec<Arc<MemoryEndpoint>>> {
    MemoryEndpoint::bind(network, addr, group, InfoAsked::default())
}

/// Receives without waiting.
fn try_recv(transport: &mut MemoryTransport, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
    transport.poll_recv(&mut Context::from_waker(Waker::noop()), batch)
}

/// Receives all that is there, and returns whom it came from.
fn drain(transport: &mut MemoryTransport) -> Vec<SocketAddr> {
    let mut batch = RecvBatch::new(64, 10);
    let mut all = Vec::new();
    while try_recv(transport, &mut batch).is_ready() {
        all.extend((0..batch.len()).map(|i| batch.meta(i).remote));
    }
    all
}

#[test]
fn h13_reply_leaves_from_the_asked_address() {
    for (wildcard, asked, own) in [
        ("0.0.0.0:7", "10.1.2.3", "10.1.2.3"),
        ("[::]:7", "2001:db8::1", "2001:db8::1"),
        ("0.0.0.0:7", "255.255.255.255", "127.0.0.1"),
        ("0.0.0.0:7", "239.1.2.3", "127.0.0.1"),
    ] {
        let network = MemoryNetwork::new();
        let endpoint = bind(&network, addr(wildcard), 1).unwrap().remove(0);
        let client = network
            .socket(SocketAddr::new(asked.parse().unwrap(), 99))
            .unwrap();
        let asked = SocketAddr::new(asked.parse().unwrap(), 7);
        client.send_to(b"ask", asked).unwrap();
        run(async {
            let mut transport = MemoryTransport::new(endpoint);
            let all = recv_all(&mut transport, &mut RecvBatch::new(1, 10), 1).await;
            assert_eq!(all[0].0.local.unwrap().asked, asked.ip());
            answer(&mut transport, all[0].0.remote, all[0].0.local, b"answer").await;
        });
        let from = SocketAddr::new(own.parse().unwrap(), 7);
        assert_eq!(client.try_recv_from().unwrap(), (b"answer".to_vec(), from));
    }
}

#[test]
fn l4_truncation_is_seen() {
    let network = MemoryNetwork::new();
    let mut transport =
        MemoryTransport::new(bind(&network, addr("127.0.0.1:7"), 1).unwrap().remove(0));
    for len in [9, 10, 11] {
        network
            .send_from(addr("127.0.0.1:9"), &vec![1; len], addr("127.0.0.1:7"))
            .unwrap();
    }
    let mut batch = RecvBatch::new(4, 10);
    assert!(try_recv(&mut transport, &mut batch).is_ready());
    let seen: Vec<_> = (0..3)
        .map(|i| (batch.meta(i).len, batch.meta(i).truncated))
        .collect();
    assert_eq!(seen, [(9, false), (10, false), (10, true)]);
}

#[test]
fn v9_each_client_stays_on_one_member() {
    let network = MemoryNetwork::new();
    let group = bind(&network, addr("127.0.0.1:0"), 3).unwrap();
    let server = group[0].local_addr();
    for round in 0..4_u8 {
        for port in 1..=100 {
            network
                .send_from(SocketAddr::new(server.ip(), port), &[round], server)
                .unwrap();
        }
    }
    let mut all = HashSet::new();
    for endpoint in group {
        let received = drain(&mut MemoryTransport::new(endpoint));
        let clients: HashSet<_> = received.iter().copied().collect();
        assert!(clients.len() > 10, "clients are spread");
        assert_eq!(received.len(), clients.len() * 4);
        assert!(clients.is_disjoint(&all));
        all.extend(clients);
    }
    assert_eq!(all.len(), 100);
}

#[test]
fn v9_an_address_in_use_is_an_error() {
    let network = MemoryNetwork::new();
    let group = bind(&network, addr("127.0.0.1:7"), 2).unwrap();
    let in_use = |text| {
        bind(&network, addr(text), 1)
            .map(drop)
            .map_err(|e| e.kind())
    };
    for text in ["127.0.0.1:7", "0.0.0.0:7"] {
        assert_eq!(in_use(text), Err(ErrorKind::AddrInUse));
    }
    for text in ["127.0.0.2:7", "[::]:7", "127.0.0.1:8"] {
        assert_eq!(in_use(text), Ok(()));
    }
    let [first, second] = <[_; 2]>::try_from(group).unwrap();
    drop(first);
    assert_eq!(in_use("127.0.0.1:7"), Err(ErrorKind::AddrInUse));
    drop(second);
    assert_eq!(in_use("127.0.0.1:7"), Ok(()));
}

#[test]
fn l1_a_queue_is_bounded() {
    let network = MemoryNetwork::new();
    let endpoint = bind(&network, addr("127.0.0.1:7"), 1).unwrap().remove(0);
    for _ in 0..20_000 {
        network
            .send_from(addr("127.0.0.1:9"), b"x", addr("127.0.0.1:7"))
            .unwrap();
    }
    let lost = endpoint.drops().unwrap();
    assert!(lost > 0);
    let received = drain(&mut MemoryTransport::new(endpoint));
    assert_eq!(received.len() as u64 + lost, 20_000);
}

#[test]
fn v7_receiving_fails_as_often_as_told() {
    let network = MemoryNetwork::new();
    let server = addr("127.0.0.1:7");
    let mut transport = MemoryTransport::new(bind(&network, server, 1).unwrap().remove(0));
    let mut batch = RecvBatch::new(4, 10);
    network
        .send_from(addr("127.0.0.1:9"), b"x", server)
        .unwrap();
    network.fail_receives(server, 2, || ErrorKind::ConnectionReset.into());
    for _ in 0..2 {
        assert!(matches!(
            try_recv(&mut transport, &mut batch),
            Poll::Ready(Err(_))
        ));
        assert_eq!(batch.len(), 0);
    }
    assert!(matches!(
        try_recv(&mut transport, &mut batch),
        Poll::Ready(Ok(()))
    ));
    assert!(try_recv(&mut transport, &mut batch).is_pending());

    network.panic_at_receive(server);
    let receive = std::panic::AssertUnwindSafe(|| try_recv(&mut transport, &mut batch));
    assert!(std::panic::catch_unwind(receive).is_err());
    assert!(try_recv(&mut transport, &mut batch).is_pending());
}

#[test]
fn v7_sending_fails_for_one_client_alone() {
    let network = MemoryNetwork::new();
    let server = addr("127.0.0.1:7");
    let mut transport = MemoryTransport::new(bind(&network, server, 1).unwrap().remove(0));
    let clients = [1, 2].map(|port| network.socket(SocketAddr::new(server.ip(), port)).unwrap());
    let (bytes, mut datagrams) = outgoing(clients[0].local_addr(), None, &[b"a", b"b", b"c"]);
    datagrams[1].remote = clients[1].local_addr();
    network.fail_sends(
        clients[1].local_addr(),
        Some(|| ErrorKind::PermissionDenied.into()),
    );
    let failed = run(send_all(&mut transport, &bytes, &datagrams));
    assert_eq!(failed.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1]);
    assert_eq!(clients[0].try_recv_from().unwrap().0, b"a");
    assert_eq!(clients[0].try_recv_from().unwrap().0, b"c");
    network.fail_sends(clients[1].local_addr(), None);
    assert!(run(send_all(&mut transport, &bytes, &datagrams)).is_empty());
    assert_eq!(clients[1].try_recv_from().unwrap().0, b"b");
}

#[test]
fn v7_sending_waits_while_blocked() {
    let network = MemoryNetwork::new();
    let server = addr("127.0.0.1:7");
    let mut transport = MemoryTransport::new(bind(&network, server, 1).unwrap().remove(0));
    let client = network.socket(addr("127.0.0.1:0")).unwrap();
    let (bytes, datagrams) = outgoing(client.local_addr(), None, &[b"a", b"b"]);
    network.block_sends(server, true);
    let mut polls = 0;
    let sent = run(poll_fn(|cx| {
        let poll = transport.poll_send(cx, &bytes, &datagrams);
        polls += 1;
        if polls == 1 {
            assert!(poll.is_pending());
            network.block_sends(server, false); // and this wakes the sender
        }
        poll
    }));
    assert!(matches!(sent, Sent::Left(2)));
    assert_eq!(polls, 2);
}

#[test]
fn coalesced_datagrams_tell_their_size() {
    let network = MemoryNetwork::new();
    let server = addr("127.0.0.1:7");
    let mut transport = MemoryTransport::new(bind(&network, server, 1).unwrap().remove(0));
    network.send_coalesced(addr("127.0.0.1:9"), b"aabbc", 2, server);
    let mut batch = RecvBatch::new(4, 10);
    assert!(try_recv(&mut transport, &mut batch).is_ready());
    assert_eq!((batch.meta(0).len, batch.meta(0).segment), (5, 2));
}
