//! L10: numbers that cannot work are an error of binding, and all others work.

use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::time::Duration;

use postbox_server::{BindError, BlockingServer, BoxError, Limits, Server, ServerBuilder};

use super::{bind, is_free, on, quiet};
use crate::common::*;
use crate::contract;

type Setter = (
    &'static str,
    fn(usize) -> ServerBuilder,
    RangeInclusive<usize>,
);

fn limits(limits: Limits) -> ServerBuilder {
    echo().limits(limits)
}

/// Every setter of a number, with the range that works.
fn setters() -> Vec<Setter> {
    let least = |least| least..=usize::MAX;
    vec![
        (
            "client_datagrams",
            |n| limits(Limits::default().client_datagrams(n)),
            least(1),
        ),
        (
            "client_bytes",
            |n| limits(Limits::default().client_bytes(n)),
            least(32),
        ),
        (
            "clients",
            |n| limits(Limits::default().clients(n)),
            1..=2_147_483_647,
        ),
        (
            "clients_per_prefix",
            |n| limits(Limits::default().clients_per_prefix(n)),
            1..=2_147_483_647,
        ),
        ("concurrency", |n| echo().concurrency(n), 1..=2_147_483_647),
        (
            "total_bytes",
            |n| limits(Limits::default().total_bytes(n)),
            least(32),
        ),
        (
            "outbox_bytes",
            |n| limits(Limits::default().outbox_bytes(n)),
            least(0),
        ),
        (
            "answers",
            |n| limits(Limits::default().answers(n)),
            least(1),
        ),
        (
            "answer_bytes",
            |n| limits(Limits::default().answer_bytes(n)),
            least(128),
        ),
        (
            "receive_datagram",
            |n| limits(Limits::default().receive_datagram(n)),
            1..=65_535,
        ),
        (
            "client_tasks",
            |n| limits(Limits::default().client_tasks(n)),
            least(0),
        ),
        (
            "send_datagram",
            |n| limits(Limits::default().send_datagram(n)),
            least(0),
        ),
        ("recv_buffer", |n| echo().recv_buffer(n), 0..=2_147_483_647),
        ("send_buffer", |n| echo().send_buffer(n), 0..=2_147_483_647),
        ("tos", |n| echo().tos(n as u32), 0..=255),
        ("ttl", |n| echo().ttl(n as u32), 1..=255),
        ("workers", |n| echo().workers(n), 0..=4096),
    ]
}

/// What is just outside of a range, and far outside.
fn outside(range: &RangeInclusive<usize>) -> Vec<usize> {
    let below = range.start().checked_sub(1);
    let above = range.end().checked_add(1);
    let far = above.map(|above| above + 1_000_000);
    [below, above, far].into_iter().flatten().collect()
}

#[track_caller]
fn assert_named(bound: Result<Server, BindError>, name: &str, value: usize) {
    let error = bound.unwrap_err();
    let BindError::Limit {
        name: named,
        value: set,
        range,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!((*named, *set), (name, value));
    assert!(!range.contains(&value));
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("{name} is {value}, and has to be ")),
        "{text}"
    );
    assert!(text.contains(&range.start().to_string()), "{text}");
    assert!(!text.contains("18446744073709551615"), "{text}");
}

contract! {
    async fn l10_a_number_that_cannot_work_is_an_error_of_bind_with_its_range(world: World) {
        for (name, set, range) in setters() {
            for value in outside(&range) {
                let addr = quiet();
                assert_named(bind(&world, set(value), addr).await, name, value);
                if world.kind != Kind::Memory {
                    assert!(is_free(addr), "{name}: it was not bound at all");
                }
            }
        }
    }

    on udp, plain;
    async fn l10_every_way_of_binding_tells(world: World) {
        for (name, set, range) in setters() {
            for value in outside(&range) {
                let builder = || on(&world, set(value));
                assert_named(builder().bind_every_interface(0), name, value);
                assert_named(builder().bind(["localhost:0", "127.0.0.1:0"]).await, name, value);
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let before = socket2::SockRef::from(&socket).nonblocking().unwrap();
                let same = socket.try_clone().unwrap();
                assert_named(builder().from_sockets([socket]), name, value);
                assert_eq!(socket2::SockRef::from(&same).nonblocking().unwrap(), before);
            }
        }
    }

    async fn l10_the_least_and_the_most_of_each_range_serve(world: World) {
        for (name, set, range) in setters() {
            for value in [*range.start(), *range.end()] {
                if (name, value) == ("workers", 4096) {
                    continue; // as many sockets as a process may not have
                }
                if name == "workers" && world.kind == Kind::Plain && !cfg!(target_os = "linux") {
                    continue;
                }
                let server = world.serve(set(value)).await;
                let peer = world.peer(server.addr).await;
                // Datagrams of one byte leave, but for one limit.
                let answer = if (name, value) == ("send_datagram", 0) { "" } else { "x" };
                if answer.is_empty() {
                    peer.send("x").await;
                    let records = world.logs.wait_for(1).await;
                    assert!(records[0].message.contains("a datagram holds 0"), "{records:?}");
                }
                assert_eq!(peer.ask(answer).await, answer, "{name} {value}");
                server.stop().await.unwrap();
            }
        }
    }

    async fn l10_every_duration_serves(world: World) {
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let limits = Limits::default().idle(time).exit(time).grace(time);
            let builder = service::echo_with_init(|scope| {
                scope.on_exit_async(|| async { Ok::<_, BoxError>(()) });
                Box::pin(async { Ok(()) })
            });
            let server = world.serve(builder.limits(limits)).await;
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("x").await, "x");
            server.stop().await.unwrap();
            world.logs.take(); // the exit action may have had no time
        }
    }
}

#[test]
fn l10_the_blocking_server_tells_too() {
    for (name, set, range) in setters() {
        for value in outside(&range) {
            let bound = BlockingServer::bind(set(value), "127.0.0.1:0");
            let error = bound.unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{name} is {value}, ")),
                "{error}"
            );
        }
    }
}

#[test]
fn l10_each_limit_that_is_a_number_is_tested() {
    // A setter that is added to `Limits` is to be added above too, if it takes a number.
    let shown = format!("{:?}", Limits::default());
    let fields: Vec<_> = shown
        .split(['{', ','])
        .filter_map(|part| part.split_once(':'))
        .collect();
    let others = ["when_full", "answer_time", "idle", "grace", "exit"];
    for (name, _) in fields {
        let name = name.trim();
        let listed = setters().iter().any(|(listed, ..)| *listed == name);
        assert!(listed || others.contains(&name), "{name} is not tested");
    }
}
