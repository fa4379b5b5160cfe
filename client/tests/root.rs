//! What needs a network of its own: forged ICMP, a full buffer, zones. With `POSTBOX_ROOT_TESTS=1`
//! these tests run, as root, each in a network namespace that `unshare` and `ip` prepare. Otherwise
//! they say that they did nothing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::future::poll_fn;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use postbox_client::{ServerAddrs, UdpClient, UdpRecvError, UdpSendError};
use postbox_protocol::{DatagramProtocol, RawSerializer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::common::*;

/// Runs `body` in a new network namespace, after the shell commands of `setup`.
///
/// The namespace belongs to a process, so this starts the test program once more for one test.
fn in_namespace(test: &str, setup: &str, body: impl AsyncFnOnce()) {
    const INSIDE: &str = "POSTBOX_INSIDE_NAMESPACE";
    if std::env::var(INSIDE).is_ok() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        return runtime.unwrap().block_on(in_time(body()));
    }
    if std::env::var("POSTBOX_ROOT_TESTS").as_deref() != Ok("1") {
        println!("{test} does nothing: it needs root, and POSTBOX_ROOT_TESTS=1");
        return;
    }
    let script = format!("ip link set lo up\n{setup}\nexec \"$@\"");
    let output = Command::new("unshare")
        .args(["--net", "sh", "-ec", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--nocapture", "--exact", &format!("root::{test}")])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}{errors}");
}

fn ip(command: &str) {
    assert!(
        Command::new("ip")
            .args(command.split(' '))
            .status()
            .unwrap()
            .success()
    );
}

fn v4(addr: SocketAddr) -> SocketAddrV4 {
    match addr {
        SocketAddr::V4(addr) => addr,
        SocketAddr::V6(_) => panic!("{addr}"),
    }
}

/// Sends what ICMP (*destination unreachable*, RFC 792) would say of a datagram between these two.
fn forge(code: u8, from: SocketAddrV4, to: SocketAddrV4) {
    let mut message = vec![3, code, 0, 0, 0, 0, 5, 0]; // the last two: an MTU of 1,280
    message.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    message.extend(from.ip().octets());
    message.extend(to.ip().octets());
    message.extend(from.port().to_be_bytes());
    message.extend(to.port().to_be_bytes());
    message.extend([0, 8, 0, 0]);
    let words = message
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !((sum >> 16) + (sum & 0xffff)) as u16; // so few words carry once
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let raw = Socket::new(
        Domain::IPV4,
        Type::from(libc::SOCK_RAW),
        Some(Protocol::ICMPV4),
    );
    let to = SocketAddr::from((*from.ip(), 0)).into();
    assert_eq!(raw.unwrap().send_to(&message, &to).unwrap(), message.len());
}

/// Every code of *destination unreachable*, among them *fragmentation needed* (4) and *host
/// administratively prohibited* (10).
const CODES: std::ops::RangeInclusive<u8> = 0..=15;

#[test]
fn c1_root_whatever_icmp_says_of_an_earlier_packet_fails_no_send() {
    in_namespace(
        "c1_root_whatever_icmp_says_of_an_earlier_packet_fails_no_send",
        "",
        async || {
            let server = Server::v4();
            let client = raw_client(&server).await;
            let (from, to) = (v4(client.local_addr()), v4(server.addr));
            for code in CODES {
                forge(code, from, to);
                let sent = client.send(Bytes::from_static(b"hello")).await;
                assert!(sent.is_ok(), "{code}: {sent:?}");
                assert_eq!(server.hear(), b"hello", "once");
            }
            // What a send has met is told by a receive.
            while client.try_recv().is_some() {}
            forge(10, from, to);
            client.send(Bytes::from_static(b"hello")).await.unwrap();
            let told = client.recv().await;
            assert!(matches!(told, Err(UdpRecvError::Io(_))), "{told:?}");
            assert!(client.try_recv().is_none());
        },
    );
}

#[test]
fn c1_root_whatever_icmp_says_of_an_earlier_packet_hides_no_datagram() {
    in_namespace(
        "c1_root_whatever_icmp_says_of_an_earlier_packet_hides_no_datagram",
        "",
        async || {
            let server = Server::v4();
            let client = raw_client(&server).await;
            let (from, to) = (v4(client.local_addr()), v4(server.addr));
            for code in CODES {
                forge(code, from, to);
                server.tell(client.local_addr(), "answer");
                assert_eq!(client.recv().await.unwrap(), "answer", "{code}");
                // What it was is told afterwards, at most once.
                let told = client.try_recv();
                assert!(!matches!(told, Some(Ok(_))), "{code}: {told:?}");
                assert!(client.try_recv().is_none(), "{code}");
            }
            // And it wakes a receive that waits.
            forge(3, from, to);
            assert!(matches!(client.recv().await, Err(UdpRecvError::Refused)));
            forge(10, from, to);
            assert!(matches!(client.recv().await, Err(UdpRecvError::Io(_))));
        },
    );
}

#[test]
fn c1_root_what_a_packet_meets_itself_fails_its_send() {
    let test = "c1_root_what_a_packet_meets_itself_fails_its_send";
    let setup = "ip link add va type veth peer name vb
        ip addr add 10.8.0.1/24 dev va
        ip link set va up
        ip link set vb up";
    in_namespace(test, setup, async || {
        let protocol = || DatagramProtocol::new(RawSerializer);
        let client = UdpClient::<Bytes>::connect("10.8.0.2:9", protocol())
            .await
            .unwrap();
        let hello = || client.send(Bytes::from_static(b"hello"));
        hello().await.unwrap();
        for kind in ["prohibit", "unreachable", "blackhole"] {
            ip(&format!("route replace {kind} 10.8.0.2/32"));
            for _ in 0..3 {
                let failed = hello().await;
                assert!(
                    matches!(failed, Err(UdpSendError::Io(_))),
                    "{kind}: {failed:?}"
                );
            }
            assert!(client.try_recv().is_none(), "{kind}: the send has told it");
            ip(&format!("route del {kind} 10.8.0.2/32"));
            hello().await.unwrap();
        }
        ip("link set va down");
        assert!(matches!(hello().await, Err(UdpSendError::Io(_))));
        ip("link set va up");
        hello().await.unwrap();
    });
}

#[test]
fn c1_root_a_full_buffer_makes_a_send_wait_and_no_endless_loop() {
    let test = "c1_root_a_full_buffer_makes_a_send_wait_and_no_endless_loop";
    // Nobody answers for 10.8.0.2, so what is sent there waits for its link address.
    let setup = "ip link add va type veth peer name vb
        ip addr add 10.8.0.1/24 dev va
        ip link set va up
        ip link set vb up";
    in_namespace(test, setup, async || {
        let server: SocketAddr = "10.8.0.2:9".parse().unwrap();
        for refused in [false, true] {
            let socket = UdpSocket::bind("10.8.0.1:0").unwrap();
            socket.connect(server).unwrap();
            SockRef::from(&socket).set_send_buffer_size(1).unwrap(); // the smallest is granted
            let client = UdpClient::from_socket(socket, DatagramProtocol::new(RawSerializer));
            let client = client.unwrap();
            if refused {
                // There is room now: to the runtime room and an error look like the end.
                forge(3, v4(client.local_addr()), v4(server));
                tokio::time::sleep(Duration::from_millis(1)).await; // the runtime sees both
                assert!(matches!(client.recv().await, Err(UdpRecvError::Refused)));
            }
            let mut polls = 0;
            let mut sent = 0;
            loop {
                let mut send = pin!(client.send(Bytes::from_static(&[0; 1000])));
                let pending = tokio::time::timeout(Duration::from_millis(20), send.as_mut()).await;
                if pending.is_ok() {
                    sent += 1;
                    continue;
                }
                // It waits, and is not asked again and again.
                let counted = poll_fn(|cx| {
                    polls += 1;
                    send.as_mut().poll(cx)
                });
                let waits = tokio::time::timeout(Duration::from_millis(50), counted).await;
                assert!(
                    waits.is_err() && polls < 10,
                    "{waits:?} after {polls} polls"
                );
                ip("neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev va");
                send.await.unwrap();
                break;
            }
            assert!(sent > 0);
            ip("neigh del 10.8.0.2 dev va");
        }
    });
}

#[test]
fn c1_root_a_full_device_makes_a_send_wait() {
    let test = "c1_root_a_full_device_makes_a_send_wait";
    // So slow that one packet in 4 ms leaves, and three of them wait.
    let setup = "ip link add va type veth peer name vb
        ip addr add 10.8.0.1/24 dev va
        ip link set va up
        ip link set vb up
        ip neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev va nud permanent
        tc qdisc replace dev va root tbf rate 1mbit burst 1600 limit 1700";
    in_namespace(test, setup, async || {
        let socket = UdpSocket::bind("10.8.0.1:0").unwrap();
        socket.connect("10.8.0.2:9").unwrap();
        set_recv_errors(&socket); // else the kernel says nothing of a full device
        let client = UdpClient::from_socket(socket, DatagramProtocol::new(RawSerializer)).unwrap();
        for number in 0..30 {
            let sent = client.send(Bytes::from_static(&[0; 500])).await;
            assert!(sent.is_ok(), "{number}: {sent:?}");
        }
        // One that stays full fails in the end.
        let slow = "qdisc replace dev va root tbf rate 1kbit burst 1600 limit 1700";
        assert!(
            Command::new("tc")
                .args(slow.split(' '))
                .status()
                .unwrap()
                .success()
        );
        let mut sent = Ok(());
        for _ in 0..30 {
            if sent.is_ok() {
                sent = client.send(Bytes::from_static(&[0; 500])).await;
            }
        }
        assert!(matches!(sent, Err(UdpSendError::Io(_))), "{sent:?}");
        let told = client.try_recv();
        assert!(told.is_none(), "the send has told it: {told:?}");
    });
}

#[test]
fn c1_root_a_users_socket_that_queues_icmp_errors_does_not_go_deaf() {
    let test = "c1_root_a_users_socket_that_queues_icmp_errors_does_not_go_deaf";
    in_namespace(test, "", async || {
        let server = Server::v4();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server.addr).unwrap();
        SockRef::from(&socket)
            .set_recv_buffer_size(64 << 10)
            .unwrap();
        set_recv_errors(&socket);
        let own = socket.local_addr().unwrap();
        let protocol = DatagramProtocol::new(RawSerializer);
        let client: UdpClient<Bytes> = UdpClient::from_socket(socket, protocol).unwrap();
        // Their queue counts against the receive buffer.
        (0..500).for_each(|_| forge(3, v4(own), v4(server.addr)));
        let _ = client.try_recv();
        server.tell(own, "answer");
        assert_eq!(client.recv().await.unwrap(), "answer");
        (0..500).for_each(|_| forge(3, v4(own), v4(server.addr)));
        client.send(Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(server.hear(), b"hello");
        server.tell(own, "answer");
        assert_eq!(client.recv().await.unwrap(), "answer");
    });
}

/// Asks for ICMP errors, with what needs no `unsafe`: a program that has the socket as its input.
fn set_recv_errors(socket: &UdpSocket) {
    let set = format!(
        "setsockopt(STDIN, {}, {}, 1) or die",
        libc::IPPROTO_IP,
        libc::IP_RECVERR
    );
    let perl = Command::new("perl")
        .args(["-e", &set])
        .stdin(OwnedFd::from(socket.try_clone().unwrap()))
        .status();
    assert!(perl.unwrap().success());
}

#[test]
fn v1_root_a_zone_works_in_every_form_of_host() {
    async fn connects(to: impl ServerAddrs, server: SocketAddr) {
        let protocol = DatagramProtocol::new(RawSerializer);
        let client = UdpClient::<Bytes>::connect(to, protocol).await.unwrap();
        assert_eq!(client.peer_addr(), server);
        client.send(Bytes::from_static(b"hello")).await.unwrap();
    }
    let setup = "ip link add one type veth peer name two
        ip link set one up
        ip link set two up
        ip addr add fe80::7/64 dev one nodad
        # The kernel makes it its own a moment later.
        until ip -6 route show table local | grep -q '^local fe80::7 '; do :; done";
    in_namespace(
        "v1_root_a_zone_works_in_every_form_of_host",
        setup,
        async || {
            let table = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap();
            let line = table
                .lines()
                .find(|line| line.starts_with("fe800000000000000000000000000007"));
            let zone = line.unwrap().split_whitespace().nth(1).unwrap();
            let zone = u32::from_str_radix(zone, 16).unwrap();
            let ip = "fe80::7".parse().unwrap();
            let socket = UdpSocket::bind(SocketAddrV6::new(ip, 0, 0, zone)).unwrap();
            socket.set_read_timeout(Some(HANG)).unwrap();
            let server = socket.local_addr().unwrap();
            let port = server.port();
            for zone in ["one", &zone.to_string()] {
                connects(format!("[fe80::7%{zone}]:{port}"), server).await;
                connects(&*format!("[fe80::7%{zone}]:{port}"), server).await;
                connects((format!("fe80::7%{zone}"), port), server).await;
                connects((&*format!("fe80::7%{zone}"), port), server).await;
            }
            connects(SocketAddrV6::new(ip, port, 0, zone), server).await;
            connects(server, server).await;
            connects(&[server][..], server).await;
            let mut buffer = [0; 9];
            (0..11).for_each(|_| assert_eq!(socket.recv(&mut buffer).unwrap(), 5));
            let nowhere = UdpClient::<Bytes>::connect(
                format!("[fe80::7%nowhere]:{port}"),
                DatagramProtocol::new(RawSerializer),
            );
            assert!(nowhere.await.is_err());
        },
    );
}
