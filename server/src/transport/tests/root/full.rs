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
