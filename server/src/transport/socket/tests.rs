//! Tests of opening sockets, on loopback addresses and free ports.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::{
    DEFAULT_SEND_BUFFER, ServerSocket, SocketConfig, SocketOptions, kernel_drops, local_addr,
    open_group,
};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn shared() -> SocketConfig {
    SocketConfig {
        reuse_port: true,
        ..SocketConfig::default()
    }
}

/// Opens a group that nobody else shares, on a port that is free.
fn open(ip: &str, sockets: usize) -> (Vec<Socket>, SocketAddr) {
    let group = open_group(
        SocketAddr::new(ip.parse().unwrap(), 0),
        sockets,
        &SocketConfig::default(),
    );
    let group = group.unwrap();
    let addr = local_addr(&group[0]).unwrap();
    (group, addr)
}

/// Receives what is there, and returns the ports of the senders.
fn drain(socket: &Socket) -> Vec<u16> {
    let socket = UdpSocket::from(socket.try_clone().unwrap()); // does not block either
    let mut buffer = [0; 16];
    std::iter::from_fn(|| socket.recv_from(&mut buffer).ok())
        .map(|(_, from)| from.port())
        .collect()
}

#[test]
fn v9_a_port_in_use_is_an_error() {
    for first in [1, 3] {
        let (group, addr) = open("127.77.0.4", first);
        assert_eq!(group.len(), first);
        for second in [1, 3] {
            let error = open_group(addr, second, &SocketConfig::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
        assert!(UdpSocket::bind(addr).is_err());
        drop(group);
        open_group(addr, 3, &SocketConfig::default()).unwrap();
    }
}

#[test]
fn v9_reuse_port_shares_with_those_that_ask_for_it() {
    let first = open_group(addr("127.0.0.1:0"), 1, &shared()).unwrap();
    let addr = local_addr(&first[0]).unwrap();
    for sockets in [1, 2] {
        assert_eq!(open_group(addr, sockets, &shared()).unwrap().len(), sockets);
        let error = open_group(addr, sockets, &SocketConfig::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn v1_port_0_is_one_port_for_a_group_and_nobody_elses() {
    let mut ports = HashMap::new();
    let mut all = Vec::new();
    for i in 0..50 {
        let group = open_group(addr("127.0.0.1:0"), 1 + i % 3, &shared()).unwrap();
        let port = local_addr(&group[0]).unwrap().port();
        assert!(
            group
                .iter()
                .all(|socket| local_addr(socket).unwrap().port() == port)
        );
        assert_eq!(ports.insert(port, i), None);
        all.push(group);
    }
}

#[test]
fn v1_each_family_has_a_socket_of_its_own() {
    let (_v4, addr) = open("0.0.0.0", 2);
    let v6 = SocketAddr::new("::".parse().unwrap(), addr.port());
    let group = open_group(v6, 2, &SocketConfig::default()).unwrap();
    assert!(group[0].only_v6().unwrap());
    assert_eq!(local_addr(&group[1]).unwrap(), v6);
}

#[test]
fn v9_a_multicast_address_takes_one_socket_alone() {
    let group = addr("239.1.2.3:0");
    let error = open_group(group, 2, &SocketConfig::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    open_group(group, 1, &SocketConfig::default()).unwrap();
}

#[test]
fn v9_a_broadcast_address_takes_one_socket_alone() {
    for ip in ["255.255.255.255", "127.255.255.255"] {
        let broadcast = SocketAddr::new(ip.parse().unwrap(), 0);
        let error = open_group(broadcast, 2, &SocketConfig::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        open_group(broadcast, 1, &SocketConfig::default()).unwrap();
    }
}

/// Floods a port while the group opens. Whoever's datagrams were received must find all of them,
/// earlier and later ones, on one socket.
#[test]
fn v9_each_client_stays_on_one_socket_from_the_first_datagram_on() {
    let clients: Vec<_> = (0..100)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let port_of = |client: &UdpSocket| client.local_addr().unwrap().port();
    let ports: HashSet<_> = clients.iter().map(port_of).collect();
    let mut received = 0;
    let mut rounds = 0;
    while rounds < 100 {
        // A port that the flood can aim at beforehand. Free, unless somebody took it at once.
        let (probe, addr) = open("127.77.0.1", 1);
        drop(probe);
        let stop = AtomicBool::new(false);
        let flooding = AtomicBool::new(false);
        let group = thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for client in &clients {
                        let _ = client.send_to(&[1], addr); // may be told that nobody is there
                    }
                    flooding.store(true, Ordering::Relaxed);
                }
            });
            while !flooding.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let group = open_group(addr, 4, &SocketConfig::default());
            stop.store(true, Ordering::Relaxed);
            group
        });
        let group = match group {
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            group => group.unwrap(),
        };
        rounds += 1;
        let mut homes = HashMap::new();
        let mut find = |socket: &Socket, home: usize| {
            // Other runs of this test may flood the same port.
            for port in drain(socket)
                .into_iter()
                .filter(|port| ports.contains(port))
            {
                received += 1;
                let first = *homes.entry(port).or_insert(home);
                assert_eq!(first, home, "client {port}, round {rounds}");
            }
        };
        for (i, socket) in group.iter().enumerate() {
            find(socket, i);
        }
        for client in &clients {
            client.send_to(&[2], addr).unwrap();
        }
        for (i, socket) in group.iter().enumerate() {
            find(socket, i);
        }
        assert_eq!(
            homes.len(),
            clients.len(),
            "all are heard once the group is open"
        );
    }
    assert!(received >= 100 * 100);
    println!("{received} datagrams were received");
}

#[test]
fn buffers_are_as_large_as_asked_for_or_allowed() {
    let (group, _) = open("127.0.0.1", 1);
    let by_default = group[0].recv_buffer_size().unwrap();
    let of_system = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    let sends = |socket: &Socket| socket.send_buffer_size().unwrap();
    let allowed = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap();
    let allowed = allowed.trim().parse::<usize>().unwrap();
    assert!(sends(&group[0]) >= sends(&of_system).max(allowed.min(DEFAULT_SEND_BUFFER)));
    let config = SocketConfig {
        recv_buffer: Some(20_000),
        send_buffer: Some(30_000),
        ..SocketConfig::default()
    };
    let small = open_group(addr("127.0.0.1:0"), 1, &config).unwrap();
    assert!(small[0].recv_buffer_size().unwrap() >= 20_000);
    assert!(small[0].recv_buffer_size().unwrap() < by_default);
    assert!((30_000..sends(&group[0])).contains(&sends(&small[0])));
    assert_eq!(kernel_drops(&small[0]).is_some(), cfg!(target_os = "linux"));
}

#[test]
fn sockets_are_opened_as_configured() {
    let config = SocketConfig {
        tos: Some(0x10),
        ttl: Some(9),
        ..SocketConfig::default()
    };
    for ip in ["127.0.0.1", "::1"] {
        let group = open_group(SocketAddr::new(ip.parse().unwrap(), 0), 2, &config).unwrap();
        for socket in group {
            let options = SocketOptions::new(&Arc::new(ServerSocket::opened(socket)));
            assert!(options.tos().is_err(), "nothing keeps the socket open");
        }
        let group = open_group(SocketAddr::new(ip.parse().unwrap(), 0), 1, &config).unwrap();
        let socket = Arc::new(ServerSocket::opened(group.into_iter().next().unwrap()));
        let options = SocketOptions::new(&socket);
        assert_eq!(options.tos().unwrap(), 0x10);
        assert_eq!(options.ttl().unwrap(), 9);
        assert!(!options.broadcast().unwrap());
    }
}

#[test]
fn options_out_of_range_are_errors_and_not_something_else() {
    for ip in ["127.0.0.1", "::1"] {
        let free = SocketAddr::new(ip.parse().unwrap(), 0);
        let with = |tos, ttl| SocketConfig {
            tos,
            ttl,
            ..SocketConfig::default()
        };
        for bad in [
            with(Some(256), None),
            with(Some(u32::MAX), None),
            with(None, Some(0)),
            with(None, Some(256)),
            with(None, Some(u32::MAX)),
        ] {
            let error = open_group(free, 1, &bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
        for good in [with(Some(0), Some(1)), with(Some(255), Some(255))] {
            open_group(free, 1, &good).unwrap();
        }
    }
}

#[test]
fn h13_options_can_be_reached_until_the_socket_is_closed() {
    for ip in ["127.77.0.5", "::1"] {
        let (group, addr) = open(ip, 1);
        let socket = Arc::new(ServerSocket::opened(group.into_iter().next().unwrap()));
        let options = SocketOptions::new(&socket);
        assert_eq!(options.local_addr().unwrap(), addr);

        options.set_recv_buffer_size(30_000).unwrap();
        assert!(options.recv_buffer_size().unwrap() >= 30_000);
        options.set_send_buffer_size(30_000).unwrap();
        assert!(options.send_buffer_size().unwrap() >= 30_000);
        options.set_tos(0x20).unwrap();
        assert_eq!(options.tos().unwrap(), 0x20);
        options.set_ttl(7).unwrap();
        assert_eq!(options.ttl().unwrap(), 7);
        options.set_broadcast(true).unwrap();
        assert!(options.broadcast().unwrap());
        options.set_multicast_loop(false).unwrap();
        assert!(!options.multicast_loop().unwrap());
        options.set_multicast_ttl(3).unwrap();
        assert_eq!(options.multicast_ttl().unwrap(), 3);

        drop(socket);
        assert!(UdpSocket::bind(addr).is_ok(), "options keep no port");
        assert_eq!(
            options.local_addr().unwrap_err().kind(),
            ErrorKind::NotConnected
        );
        assert_eq!(
            options.set_ttl(7).unwrap_err().kind(),
            ErrorKind::NotConnected
        );
    }
}

#[test]
fn h13_groups_can_be_joined_and_left() {
    let (group, _) = open("0.0.0.0", 1);
    let socket = Arc::new(ServerSocket::opened(group.into_iter().next().unwrap()));
    let options = SocketOptions::new(&socket);
    let (multicast, interface) = ("239.1.2.3".parse().unwrap(), "127.0.0.1".parse().unwrap());
    options.join_multicast_v4(multicast, interface).unwrap();
    assert!(
        options.join_multicast_v4(multicast, interface).is_err(),
        "joined already"
    );
    options.leave_multicast_v4(multicast, interface).unwrap();
}
