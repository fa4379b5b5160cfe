//! ICMP that somebody forged, as anybody can: it need not answer anything.

use std::net::SocketAddrV4;
use std::os::fd::AsFd;
use std::process::Command;
use std::task::Poll;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::coop;

use super::super::*;
use super::in_namespace;
use crate::transport::plain::PlainTransport;
use crate::transport::sys;

/// *Destination unreachable*: the port (RFC 792).
const PORT: u8 = 3;
/// ... or a fragment is needed.
const FRAGMENT: u8 = 4;

/// Sends what ICMP would say of a datagram between these two.
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

fn v4(addr: SocketAddr) -> SocketAddrV4 {
    match addr {
        SocketAddr::V4(addr) => addr,
        SocketAddr::V6(_) => panic!("{addr}"),
    }
}

#[test]
fn v7_root_forged_icmp_makes_no_server_deaf() {
    let test = "forged::v7_root_forged_icmp_makes_no_server_deaf";
    in_namespace(test, "", || {
        let socket = icmp::open_with_errors("127.0.0.1:0");
        let addr = addr_of(&socket);
        run(async {
            let mut transport = udp(Arc::clone(&socket), false).unwrap();
            let mut batch = RecvBatch::new(4, 10);
            let mut told = 0;
            for number in 0..1000_u16 {
                let [high, low] = number.to_be_bytes();
                let nobody = SocketAddrV4::new([192, 0, 2 + high, low].into(), 9);
                forge([PORT, FRAGMENT][usize::from(low % 2)], v4(addr), nobody);
                if number % 100 == 0 {
                    poll_fn(|cx| {
                        assert!(transport.poll_recv(cx, &mut batch).is_pending());
                        let now = transport.take_icmp_errors(false).len();
                        told += now;
                        if now > 0 {
                            Poll::Ready(())
                        } else {
                            Poll::Pending
                        }
                    })
                    .await;
                }
            }
            let sender = client("127.0.0.1");
            sender.send_to(b"y", addr).unwrap();
            recv(&mut transport, &mut batch).await.unwrap();
            told += transport.take_icmp_errors(false).len();
            assert!(told > 500, "{told}");
        });
    });
}

#[test]
fn v7_root_forged_icmp_fails_no_send_and_changes_no_run() {
    let test = "forged::v7_root_forged_icmp_fails_no_send_and_changes_no_run";
    in_namespace(test, "", || {
        for asked in [true, false] {
            let peer = client("127.0.0.1");
            let to = peer.local_addr().unwrap();
            let socket = if asked {
                icmp::open_with_errors("127.0.0.1:0")
            } else {
                let users = UdpSocket::bind("127.0.0.1:0").unwrap();
                users.connect(to).unwrap(); // hears ICMP without asking
                given(users)
            };
            let addr = v4(addr_of(&socket));
            run(async {
                let mut transport = udp(Arc::clone(&socket), true).unwrap();
                // It tells of a socket's own limit too, and of every other that can be forged.
                for code in 0..=15 {
                    forge(code, addr, v4(to));
                    let (bytes, datagrams) = outgoing(to, None, &[&b"abc"[..]; 3]);
                    assert!(
                        send_all(&mut transport, &bytes, &datagrams)
                            .await
                            .is_empty()
                    );
                    for _ in 0..3 {
                        assert_eq!(hear(&peer).0, b"abc");
                    }
                    forge(code, addr, v4(to));
                    peer.send_to(b"y", SocketAddr::V4(addr)).unwrap();
                    let mut batch = RecvBatch::new(4, 10);
                    while recv(&mut transport, &mut batch).await.is_err() {}
                }
                assert_eq!(transport.segment_limit(), usize::from(u16::MAX));
            });
            run(async {
                let mut transport = PlainTransport::new(&socket).unwrap();
                for code in 0..=15 {
                    forge(code, addr, v4(to));
                    answer(&mut transport, to, None, b"abc").await;
                    assert_eq!(hear(&peer).0, b"abc");
                }
            });
            assert!(sys::next_error(socket.as_fd()).is_none());
        }
    });
}

/// Sends until the socket's buffer is full. As in a worker, nothing but the transport itself ends an
/// endless loop.
async fn fill(transport: &mut dyn Transport, to: &str) {
    let (bytes, mut datagrams) = outgoing(to.parse().unwrap(), None, &[&[0; 1000][..]; 30]);
    let filled = poll_fn(|cx| {
        while let Poll::Ready(sent) = transport.poll_send(cx, &bytes, &datagrams) {
            match sent {
                Sent::Left(left) => drop(datagrams.drain(..left)),
                Sent::Failed(error) => panic!("{error}"),
            }
        }
        Poll::Ready(())
    });
    coop::unconstrained(filled).await;
    assert!(!datagrams.is_empty(), "there was room for all");
}

#[test]
fn v7_root_icmp_makes_a_send_that_waits_for_room_no_endless_loop() {
    let test = "forged::v7_root_icmp_makes_a_send_that_waits_for_room_no_endless_loop";
    // Nobody answers for 10.8.0.2 and .3, so what is sent there waits for its link address.
    let setup = "ip link add va type veth peer name vb
        ip addr add 10.8.0.1/24 dev va
        ip link set va up
        ip link set vb up";
    in_namespace(test, setup, || {
        for plain in [false, true] {
            let users = UdpSocket::bind("10.8.0.1:0").unwrap();
            users.connect("10.8.0.2:9").unwrap(); // hears ICMP without asking
            let socket = given(users);
            let addr = addr_of(&socket);
            socket.set_send_buffer_size(1).unwrap(); // the kernel grants its smallest
            run(async {
                let mut transport: Box<dyn Transport> = if plain {
                    Box::new(PlainTransport::new(&socket).unwrap())
                } else {
                    Box::new(udp(Arc::clone(&socket), false).unwrap())
                };
                fill(&mut *transport, "10.8.0.2:9").await;
                let known = "neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev va";
                let status = Command::new("ip").args(known.split(' ')).status().unwrap();
                assert!(status.success());
                // There is room, and an error: to the runtime this looks like the end.
                forge(PORT, v4(addr), "10.8.0.2:9".parse().unwrap());
                tokio::time::sleep(Duration::from_millis(1)).await;
                fill(&mut *transport, "10.8.0.3:9").await;
                let forget = "neigh del 10.8.0.2 dev va";
                assert!(
                    Command::new("ip")
                        .args(forget.split(' '))
                        .status()
                        .unwrap()
                        .success()
                );
            });
        }
    });
}
