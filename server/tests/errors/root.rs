//! What needs a host of its own: no files left, forged ICMP. With `POSTBOX_ROOT_TESTS=1`; see
//! `binding/root.rs`.

use std::error::Error;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};

use postbox_server::{BindError, RecvError, ServeError, Server};
use socket2::{Domain, Protocol, Socket, Type};

use crate::binding::root::run_on_own_host;
use crate::common::*;

/// Whether this is, or comes from, *no files left*.
fn is_out_of_files(error: &(dyn Error + 'static)) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    source.and_then(io::Error::raw_os_error) == Some(libc::EMFILE)
}

#[test]
fn v7_root_out_of_files_is_an_error_of_bind_and_of_serving_and_passes() {
    let test = "v7_root_out_of_files_is_an_error_of_bind_and_of_serving_and_passes";
    run_on_own_host(module_path!(), test, "ulimit -n 40", |world| {
        Box::pin(async move {
            let mut servers: Vec<Server> = Vec::new();
            for plain in [false, true] {
                let builder = echo().plain_transport(plain);
                servers.push(builder.bind("127.0.0.1:0").await.unwrap());
            }
            let mut peers = Vec::new();
            for server in &servers {
                peers.push(world.peer(server.handle().addresses()[0]).await);
            }
            let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            for hosts in [vec!["127.0.0.1:9000"], vec!["127.0.0.1:9001", "[::1]:9001"]] {
                let error = echo().bind(&hosts[..]).await.unwrap_err();
                assert!(matches!(error, BindError::Bind { .. }), "{error:?}");
                assert!(is_out_of_files(&error), "{error:?}");
            }
            let error = echo().bind_every_interface(9000).unwrap_err();
            assert!(is_out_of_files(&error), "{error:?}");
            // The plain transport works on a duplicate of its own.
            let failed = servers[1].serve_forever().await.unwrap_err();
            assert!(matches!(failed, ServeError::Socket { .. }), "{failed:?}");
            assert!(is_out_of_files(&failed), "{failed:?}");
            assert!(servers[1].handle().is_listening());
            // One that serves needs none.
            let served = TestServer::start(servers.remove(0)).await;
            assert_eq!(peers[0].ask("hello").await, "hello");
            drop(files);
            let again = TestServer::start(servers.remove(0)).await;
            assert_eq!(peers[1].ask("hello").await, "hello");
            let bound = echo().bind(["127.0.0.1:9001", "[::1]:9001"]).await.unwrap();
            assert_eq!(bound.handle().addresses().len(), 2);
            served.stop().await.unwrap();
            again.stop().await.unwrap();
        })
    });
}

/// Sends *destination unreachable* (RFC 792) about a datagram between these two.
fn forge(code: u8, from: SocketAddr, to: SocketAddr) {
    let ip = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => panic!("{addr}"),
    };
    let mut message = vec![3, code, 0, 0, 0, 0, 5, 0]; // the last two: an MTU of 1,280
    message.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    message.extend([ip(from), ip(to)].concat());
    message.extend([from.port().to_be_bytes(), to.port().to_be_bytes()].concat());
    message.extend([0, 8, 0, 0]);
    let words = message.chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = !((sum >> 16) + (sum & 0xffff)) as u16; // so few words carry once
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let raw = Socket::new(
        Domain::IPV4,
        Type::from(libc::SOCK_RAW),
        Some(Protocol::ICMPV4),
    );
    let to = SocketAddr::new(from.ip(), 0).into();
    assert_eq!(raw.unwrap().send_to(&message, &to).unwrap(), message.len());
}

#[test]
fn v7_root_icmp_that_says_that_less_would_arrive_calls_no_client_unreachable() {
    let test = "v7_root_icmp_that_says_that_less_would_arrive_calls_no_client_unreachable";
    run_on_own_host(module_path!(), test, "", |world| {
        Box::pin(async move {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let builder = raw_server(move |client, mut requests| {
                let tell = tell.clone();
                async move {
                    client.send(requests.recv().await?).await?;
                    loop {
                        tell.send(requests.recv().await)?;
                    }
                }
            });
            let server = world.serve(builder.icmp_errors(true)).await;
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("hello").await, "hello");
            server.stats_where(|stats| stats.waiting_clients == 1).await;
            forge(4, server.addr, peer.addr()); // a fragment is needed
            server.stats_where(|stats| stats.send_errors == 1).await;
            peer.send("more").await;
            assert_eq!(told.recv().await.unwrap().unwrap(), "more");
            forge(3, server.addr, peer.addr());
            let gone = told.recv().await.unwrap();
            assert!(matches!(gone, Err(RecvError::Unreachable(_))), "{gone:?}");
            drop(told); // the handler ends
            world.logs.take();
            server.stop().await.unwrap();
            world.logs.take();
        })
    });
}
