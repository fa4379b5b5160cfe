//! V8: servers of programs that do something else: in the background, and without an async runtime.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use postbox_server::{
    BlockingServer, MemoryNetwork, ServeError, ServerBuilder, ServerHandle, StartError,
};

use crate::common::service::{echo_with_init, source};
use crate::common::*;
use crate::contract;

contract! {
    async fn v8_a_server_runs_in_the_background_of_a_program_that_is_its_client(world: World) {
        let server = world.bind(echo()).await;
        let handle = server.handle();
        let serving = tokio::spawn(server.serve_forever());
        handle.started().await.unwrap();
        let peer = world.peer(handle.addresses()[0]).await;
        assert_eq!(peer.ask("from the same program").await, "from the same program");
        handle.shutdown().await;
        serving.await.unwrap().unwrap();
    }

    async fn v8_servers_in_the_background_are_clients_of_each_other(world: World) {
        let (echo, journal) = (world.serve(echo()).await, service::Journal::default());
        // The second one asks the first, from a background task of its own.
        let (asking, heard) = (world.peer(echo.addr).await, journal.clone());
        let asking = Mutex::new(Some(asking));
        let second = world.serve(echo_with_init(move |service| {
            let (peer, heard) = (asking.lock().unwrap().take().unwrap(), heard.clone());
            service.spawn(async move { heard.add(peer.ask("from a server").await) });
            Box::pin(async { Ok(()) })
        })).await;
        journal.wait_for("from a server").await;
        // The program asks both at once.
        let (one, two) = (world.peer(echo.addr).await, world.peer(second.addr).await);
        let answers = tokio::join!(one.ask("one"), two.ask("two"));
        assert_eq!(answers, ("one".into(), "two".into()));
        second.stop().await.unwrap();
        assert_eq!(one.ask("goes on").await, "goes on");
        echo.stop().await.unwrap();
    }
}

/// A client of a program without a runtime.
struct Plain(UdpSocket);

impl Plain {
    fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.connect(server).unwrap();
        Self(socket)
    }

    fn ask(&self, datagram: &str) -> String {
        self.0.send(datagram.as_bytes()).unwrap();
        let mut buffer = [0; 100];
        let len = self.0.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }
}

fn bind(builder: ServerBuilder) -> (BlockingServer, ServerHandle, Plain) {
    let server = BlockingServer::bind(builder, "127.0.0.1:0").unwrap();
    let handle = server.handle();
    let client = Plain::new(handle.addresses()[0]);
    (server, handle, client)
}

// Not on a runtime of a test's, since the blocking server brings its own.

#[test]
fn v8_the_blocking_server_serves_on_this_thread_and_is_controlled_from_others() {
    let server = BlockingServer::bind(echo(), "127.0.0.1:0").unwrap();
    let handle = server.handle();
    let addr = handle.addresses()[0];
    let control = thread::spawn(move || {
        handle.blocking_started().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.send_to(b"hello", addr).unwrap();
        let mut buffer = [0; 16];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&b"hello"[..], addr));
        handle.blocking_shutdown();
        handle
    });
    server.serve_forever().unwrap();
    let handle = control.join().unwrap();
    assert!(handle.is_listening() && !handle.is_serving());
    handle.blocking_close();
    assert!(!handle.is_listening());
    assert!(matches!(server.serve_forever(), Err(ServeError::Closed)));
}

#[test]
fn v8_the_blocking_server_serves_again_and_a_second_call_answers_already_running() {
    let (server, handle, client) = bind(echo());
    let server = Arc::new(server);
    for number in 1..=3 {
        let serves = Arc::clone(&server);
        let serving = thread::spawn(move || serves.serve_forever());
        while let Err(StartError::Ended) = handle.blocking_started() {
            thread::yield_now(); // the last one's end: the next one has not begun
        }
        assert_eq!(client.ask(&number.to_string()), number.to_string());
        let second = server.serve_forever();
        assert!(
            matches!(second, Err(ServeError::AlreadyRunning)),
            "{second:?}"
        );
        handle.blocking_shutdown();
        serving.join().unwrap().unwrap();
        assert!(handle.is_listening() && !handle.is_serving());
    }
}

#[test]
fn v8_the_blocking_server_serves_until_its_signal() {
    let (server, handle, client) = bind(echo());
    let (stop, signal) = tokio::sync::oneshot::channel::<()>();
    let control = thread::spawn(move || {
        handle.blocking_started().unwrap();
        assert_eq!(client.ask("x"), "x");
        stop.send(()).unwrap();
        handle
    });
    server.serve_until(signal).unwrap();
    let handle = control.join().unwrap();
    assert!(handle.is_listening() && !handle.is_serving());
}

#[test]
fn v8_v11_the_blocking_server_drains_at_its_signal_or_when_it_is_told() {
    for told in 0..3 {
        let (server, handle, client) = bind(raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            client.send(requests.recv().await?).await?;
            Ok(())
        }));
        let (stop, signal) = tokio::sync::oneshot::channel::<()>();
        let control = thread::spawn(move || {
            handle.blocking_started().unwrap();
            assert_eq!(client.ask("hello"), "hello");
            let drain = handle.clone();
            match told {
                0 => stop.send(()).unwrap(),
                1 => drop(thread::spawn(move || drain.blocking_drain(HANG))),
                _ => return (handle.blocking_hand_over(HANG), stop).0,
            }
            while !handle.is_draining() {
                thread::yield_now();
            }
            assert_eq!(client.ask("goes on"), "goes on");
        });
        let stop = async {
            if signal.await.is_err() {
                std::future::pending().await // it was told otherwise
            }
        };
        server.serve_until_drained(stop, HANG).unwrap();
        control.join().unwrap();
        assert!(server.handle().is_listening());
    }
}

#[test]
fn v8_a_handler_ends_the_blocking_server() {
    let own = Arc::new(Mutex::new(None::<ServerHandle>));
    let known = Arc::clone(&own);
    let (server, handle, client) = bind(raw_server(move |client, mut requests| {
        let handle = known.lock().unwrap().clone().unwrap();
        async move {
            client.send(requests.recv().await?).await?;
            handle.shutdown().await;
            Ok(())
        }
    }));
    *own.lock().unwrap() = Some(handle);
    let asking = thread::spawn(move || client.ask("stop"));
    server.serve_forever().unwrap();
    assert_eq!(asking.join().unwrap(), "stop");
}

#[test]
fn v8_the_blocking_server_tells_why_it_ended() {
    let (server, handle, _client) = bind(echo_with_init(|_| {
        Box::pin(async { Err("no database".into()) })
    }));
    let waiting = thread::spawn(move || handle.blocking_started());
    let error = server.serve_forever().unwrap_err();
    assert!(matches!(error, ServeError::ServiceInit(_)), "{error:?}");
    assert_eq!(source(&error), "no database");
    assert_eq!(waiting.join().unwrap(), Err(StartError::Ended));
}

#[test]
fn v8_the_blocking_server_takes_a_server_that_was_bound_in_another_way() {
    let network = MemoryNetwork::new();
    let bound = echo().bind_memory(&network, "127.0.0.1:0".parse().unwrap());
    let server = BlockingServer::new(bound.unwrap()).unwrap();
    let handle = server.handle();
    let peer = network.socket("127.0.0.1:0".parse().unwrap()).unwrap();
    let control = thread::spawn(move || {
        peer.send_to(b"in memory", handle.addresses()[0]).unwrap();
        let answer = block_on(peer.recv_from()).unwrap().0;
        handle.blocking_close();
        answer
    });
    server.serve_forever().unwrap();
    assert_eq!(control.join().unwrap(), b"in memory");
}
