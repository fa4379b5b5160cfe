//! A socket whose send buffer is full.

use std::process::Command;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;

use super::super::*;
use super::in_namespace;

/// Tells a task that a waker was woken.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[test]
fn v7_root_a_send_that_waits_is_told_of_room_however_much_arrives() {
    let test = "full::v7_root_a_send_that_waits_is_told_of_room_however_much_arrives";
    // Nobody answers for 10.8.0.2, so what is sent there waits for its link address.
    let setup = "ip link add va type veth peer name vb
        ip addr add 10.8.0.1/24 dev va
        ip link set va up
        ip link set vb up";
    in_namespace(test, setup, || {
        let socket = open("10.8.0.1:0");
        let addr = addr_of(&socket);
        socket.set_send_buffer_size(1).unwrap();
        run(async {
            let mut transport = udp(socket, false).unwrap();
            let to = "10.8.0.2:9".parse().unwrap();
            let (bytes, mut datagrams) = outgoing(to, None, &[&[0; 1000][..]; 30]);
            let bell = Arc::new(Bell(Notify::new()));
            let waker = Waker::from(Arc::clone(&bell));
            let mut cx = Context::from_waker(&waker);
            while let Poll::Ready(Sent::Left(left)) =
                transport.poll_send(&mut cx, &bytes, &datagrams)
            {
                datagrams.drain(..left);
            }
            assert!(!datagrams.is_empty(), "there was room for all");
            let client = client("10.8.0.1");
            for _ in 0..20 * 4 {
                client.send_to(b"x", addr).unwrap();
            }
            recv_all(&mut transport, &mut RecvBatch::new(4, 100), 20 * 4).await;
            // It was also rung when the socket came to be watched for room.
            let _ = tokio::time::timeout(Duration::ZERO, bell.0.notified()).await;
            let known = "neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev va";
            let status = Command::new("ip").args(known.split(' ')).status().unwrap();
            assert!(status.success());
            let woken = tokio::time::timeout(Duration::from_secs(30), bell.0.notified()).await;
            woken.expect("the send that waits was not woken");

            // Now it leaves, and full load takes the socket off the watch again.
            send_all(&mut transport, &bytes, &datagrams).await;
            for _ in 0..20 * 4 {
                client.send_to(b"x", addr).unwrap();
            }
            recv_all(&mut transport, &mut RecvBatch::new(4, 100), 20 * 4).await;
            assert!(!transport.is_watched());
        });
    });
}

#[test]
fn v7_root_sending_waits_for_room_and_goes_on() {
    let setup = "ip link add va type veth peer name vb
        ip addr add 10.8.0.1/24 dev va
        ip link set va up
        ip link set vb up";
    in_namespace(
        "full::v7_root_sending_waits_for_room_and_goes_on",
        setup,
        || {
            let socket = open("10.8.0.1:0");
            let addr = addr_of(&socket);
            socket.set_send_buffer_size(1).unwrap(); // the kernel grants its smallest
            run(async {
                let mut transport = udp(socket, false).unwrap();
                let mut batch = RecvBatch::new(4, 100);
                // The neighbour does not answer, so what is sent to it waits for its address.
                let to = "10.8.0.2:9".parse().unwrap();
                let (bytes, datagrams) = outgoing(to, None, &[&[0; 1000][..]; 30]);
                let mut at = 0;
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    assert!(transport.poll_recv(cx, &mut batch).is_pending());
                    while let Poll::Ready(sent) = transport.poll_send(cx, &bytes, &datagrams[at..])
                    {
                        assert_eq!(polls, 1, "there is no room yet");
                        match sent {
                            Sent::Left(left) => at += left,
                            Sent::Failed(error) => panic!("{error}"),
                        }
                    }
                    // To wait for room, the socket is registered anew: the receive that waits has
                    // to be asked again.
                    if polls == 1 {
                        Poll::Pending
                    } else {
                        Poll::Ready(())
                    }
                })
                .await;
                assert!(0 < at && at < 30, "{at} left");

                // Now it has one: what waits leaves, and makes room.
                let known = "neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev va";
                assert!(
                    Command::new("ip")
                        .args(known.split(' '))
                        .status()
                        .unwrap()
                        .success()
                );
                assert!(
                    send_all(&mut transport, &bytes, &datagrams[at..])
                        .await
                        .is_empty()
                );

                // And receiving works as before.
                let client = client("10.8.0.1");
                let mut pending = false;
                poll_fn(|cx| {
                    let poll = transport.poll_recv(cx, &mut batch);
                    if poll.is_pending() && !pending {
                        pending = true;
                        client.send_to(b"x", addr).unwrap();
                    }
                    poll
                })
                .await
                .unwrap();
                assert_eq!(batch.len(), 1);
            });
        },
    );
}

/// An interface beside loopback, to a machine whose link address is known.
const NEIGHBOUR: &str = "ip link add va type veth peer name vb
    ip addr add 10.8.0.1/24 dev va
    ip link set va up
    ip link set vb up
    ip neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev va nud permanent";

fn command(line: &str) {
    let (name, args) = line.split_once(' ').unwrap();
    assert!(
        Command::new(name)
            .args(args.split(' '))
            .status()
            .unwrap()
            .success()
    );
}

/// Sends several datagrams there and one elsewhere, which has to arrive. Returns what failed.
async fn send_both(transport: &mut impl Transport, elsewhere: &UdpSocket) -> Vec<io::Error> {
    let (bytes, mut datagrams) =
        outgoing("10.8.0.2:9".parse().unwrap(), None, &[&[0; 500][..]; 20]);
    datagrams[10].remote = elsewhere.local_addr().unwrap();
    let failed = send_all(transport, &bytes, &datagrams).await;
    assert!(failed.iter().all(|(at, _)| *at != 10));
    assert_eq!(hear(elsewhere).0.len(), 500);
    failed.into_iter().map(|(_, error)| error).collect()
}

#[test]
fn v7_root_a_full_device_fails_what_it_drops_and_nothing_else() {
    let test = "full::v7_root_a_full_device_fails_what_it_drops_and_nothing_else";
    in_namespace(test, NEIGHBOUR, || {
        for asked in [true, false] {
            let config = SocketConfig {
                icmp_errors: asked,
                ..SocketConfig::default()
            };
            let socket = open_with("0.0.0.0:0", &config);
            run(async {
                let mut transport = udp(socket, false).unwrap();
                let client = client("127.0.0.1");
                command("tc qdisc replace dev va root tbf rate 1kbit burst 1600 limit 2000");
                let failed = send_both(&mut transport, &client).await;
                // The kernel tells of it only where errors were asked for.
                let is_full = |error: &io::Error| error.raw_os_error() == Some(libc::ENOBUFS);
                assert!(failed.iter().all(is_full), "{failed:?}");
                assert_eq!(failed.len() > 10, asked, "{failed:?}");
                command("tc qdisc del dev va root");
                assert!(send_both(&mut transport, &client).await.is_empty());
            });
        }
    });
}

#[test]
fn v7_root_a_network_that_goes_down_comes_back() {
    let test = "full::v7_root_a_network_that_goes_down_comes_back";
    in_namespace(test, NEIGHBOUR, || {
        let socket = open("0.0.0.0:0");
        let port = addr_of(&socket).port();
        run(async {
            let mut transport = udp(socket, false).unwrap();
            let client = client("127.0.0.1");
            let mut batch = RecvBatch::new(4, 10);
            for _ in 0..3 {
                command("ip link set va down");
                let failed = send_both(&mut transport, &client).await;
                assert_eq!(failed.len(), 19, "{failed:?}");
                let is_down = |error: &io::Error| {
                    let down = [
                        io::ErrorKind::NetworkUnreachable,
                        io::ErrorKind::NetworkDown,
                    ];
                    down.contains(&error.kind())
                };
                assert!(failed.iter().all(is_down), "{failed:?}");
                command("ip link set va up");
                let known =
                    "ip neigh replace 10.8.0.2 lladdr 02:00:00:00:00:02 dev va nud permanent";
                command(known);
                assert!(send_both(&mut transport, &client).await.is_empty());

                // Nothing comes meanwhile, and nothing fails for it.
                command("ip link set lo down");
                let _ = client.send_to(b"lost", ("127.0.0.1", port));
                let poll = poll_fn(|cx| Poll::Ready(transport.poll_recv(cx, &mut batch)));
                assert!(poll.await.is_pending());
                command("ip link set lo up");
                client.send_to(b"heard", ("127.0.0.1", port)).unwrap();
                recv(&mut transport, &mut batch).await.unwrap();
                assert_eq!((batch.len(), batch.meta(0).len), (1, 5));
            }
        });
    });
}
