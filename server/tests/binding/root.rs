//! V1, V7, H13 and L5: what needs a host of its own. With `POSTBOX_ROOT_TESTS=1` these tests run, as root, each in
//! namespaces that `unshare` makes for it. Otherwise they say that they did nothing.

use std::net::SocketAddr;
use std::process::Command;

use postbox_server::{RecvError, Server};

use crate::common::*;

/// Runs `body` on a host where `many.test` has three addresses, after the shell commands of
/// `setup`.
///
/// Namespaces belong to a process, so this starts the test program once more for one test.
fn on_own_host(test: &str, setup: &str, body: fn(World) -> BoxBody) {
    run_on_own_host(module_path!(), test, setup, body);
}

/// The same for a test of another module.
pub(crate) fn run_on_own_host(module: &str, test: &str, setup: &str, body: fn(World) -> BoxBody) {
    const INSIDE: &str = "POSTBOX_INSIDE_NAMESPACE";
    if std::env::var(INSIDE).is_ok() {
        return run(Kind::Udp, Rt::Current, body);
    }
    if std::env::var("POSTBOX_ROOT_TESTS").as_deref() != Ok("1") {
        println!("{test} does nothing: it needs root, and POSTBOX_ROOT_TESTS=1");
        return;
    }
    let (_, module) = module.split_once("::").unwrap();
    let script = format!(
        "ip link set lo up
        hosts=$(mktemp)
        for ip in 127.0.0.1 127.0.0.2 ::1; do echo $ip many.test; done > $hosts
        mount --bind $hosts /etc/hosts
        rm $hosts
        {setup}
        exec \"$@\""
    );
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-ec", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--nocapture", "--exact", &format!("{module}::{test}")])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{text}{errors}");
}

pub(crate) type BoxBody = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The IP addresses that a server is bound to, once it has answered on each.
async fn checked(world: &World, server: Server) -> Vec<String> {
    let server = TestServer::start(server).await;
    super::check_all(world, &server.handle).await;
    let addresses = server.handle.addresses();
    server.stop().await.unwrap();
    let mut ips: Vec<_> = addresses.iter().map(|addr| addr.ip().to_string()).collect();
    ips.sort();
    ips
}

#[test]
fn v1_root_a_name_is_bound_on_all_its_addresses() {
    let test = "v1_root_a_name_is_bound_on_all_its_addresses";
    on_own_host(test, "", |world| {
        Box::pin(async move {
            let server = echo().bind("many.test:9000").await.unwrap();
            assert_eq!(
                checked(&world, server).await,
                ["127.0.0.1", "127.0.0.2", "::1"]
            );
        })
    });
}

#[test]
fn v1_root_without_ipv6_every_interface_and_names_are_ipv4() {
    let test = "v1_root_without_ipv6_every_interface_and_names_are_ipv4";
    let setup = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    on_own_host(test, setup, |world| {
        Box::pin(async move {
            // Sockets of the other family can be made all the same.
            let server = TestServer::start(echo().bind_every_interface(9000).unwrap()).await;
            assert_eq!(ips(&server), ["0.0.0.0", "::"]);
            let peer = world.peer("127.0.0.1:9000".parse().unwrap()).await;
            assert_eq!(peer.ask("hello").await, "hello");
            server.stop().await.unwrap();
            let server = echo().bind("many.test:9000").await.unwrap();
            assert_eq!(checked(&world, server).await, ["127.0.0.1", "127.0.0.2"]);
            let error = echo()
                .bind(["127.0.0.1:9000", "[::1]:9000"])
                .await
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "cannot bind [::1]:9000",
                "that one was written"
            );
        })
    });
}

#[test]
fn v1_root_ipv6_without_its_loopback_address_is_bound_too() {
    let test = "v1_root_ipv6_without_its_loopback_address_is_bound_too";
    let setup = "ip addr del ::1/128 dev lo
        ip link add one type veth peer name two
        for name in one two; do ip link set $name up; done
        ip addr add fd00::7/64 dev one nodad
        until ip -6 route show table local | grep -q '^local fd00::7 '; do :; done
        for ip in 127.0.0.1 fd00::7; do echo $ip both.test; done >> /etc/hosts";
    on_own_host(test, setup, |world| {
        Box::pin(async move {
            let every = echo().bind_every_interface(9000).unwrap();
            let named = echo().bind("both.test:9001").await.unwrap();
            for (server, bound) in [
                (every, ["0.0.0.0", "::"]),
                (named, ["127.0.0.1", "fd00::7"]),
            ] {
                let server = TestServer::start(server).await;
                let mut ips = ips(&server);
                ips.sort(); // a name's are in the resolver's order
                assert_eq!(ips, bound);
                for ip in ["127.0.0.1", "fd00::7"] {
                    let asked = SocketAddr::new(ip.parse().unwrap(), server.addr.port());
                    let own = SocketAddr::new(asked.ip(), 0);
                    assert_eq!(world.peer_at(own, asked).await.ask("hello").await, "hello");
                }
                server.stop().await.unwrap();
            }
            // This host has IPv6, so an address of it that cannot be bound is an error.
            let error = echo().bind("many.test:9000").await.unwrap_err();
            assert_eq!(error.to_string(), "cannot bind [::1]:9000");
        })
    });
}

/// The IP addresses that it is bound to.
fn ips(server: &TestServer) -> Vec<String> {
    let addresses = server.handle.addresses();
    addresses.iter().map(|addr| addr.ip().to_string()).collect()
}

#[test]
fn v1_root_a_zone_works_in_every_form_of_host() {
    let test = "v1_root_a_zone_works_in_every_form_of_host";
    let setup = "ip link add one type veth peer name two
        for name in one two; do ip link set $name up; done
        for name in one two; do ip addr add fe80::7/64 dev $name nodad; done
        until [ $(ip -6 route show table local | grep -c '^local fe80::7 ') = 2 ]; do :; done";
    on_own_host(test, setup, |world| {
        Box::pin(async move {
            for index in interfaces_of("fe800000000000000000000000000007") {
                let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
                let links = String::from_utf8(output.stdout).unwrap();
                let link = links
                    .lines()
                    .find(|line| line.starts_with(&format!("{index}: ")));
                let name = link.unwrap().split([' ', '@']).nth(1).unwrap();
                let addr = std::net::SocketAddrV6::new("fe80::7".parse().unwrap(), 0, 0, index);
                for bound in [
                    echo().bind(format!("[fe80::7%{name}]:0")).await,
                    echo().bind(format!("[fe80::7%{index}]:0")).await,
                    echo().bind((format!("fe80::7%{name}"), 0)).await,
                    echo().bind((&*format!("fe80::7%{index}"), 0)).await,
                    echo().bind([format!("[fe80::7%{name}]:0")]).await,
                    echo().bind(addr).await,
                ] {
                    let server = TestServer::start(bound.unwrap()).await;
                    let [SocketAddr::V6(bound)] = server.handle.addresses()[..] else {
                        panic!("{:?}", server.handle.addresses());
                    };
                    assert_eq!((bound.ip(), bound.scope_id()), (addr.ip(), index));
                    let peer = world.peer_at(addr.into(), server.addr).await;
                    assert_eq!(peer.ask("hello").await, "hello");
                    server.stop().await.unwrap();
                }
            }
        })
    });
}

/// The interfaces with this IPv6 address, by their numbers.
fn interfaces_of(address: &str) -> Vec<u32> {
    let table = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap();
    let number = |line: &str| {
        let mut words = line.split_whitespace();
        let index = (words.next()? == address).then(|| words.next())??;
        u32::from_str_radix(index, 16).ok()
    };
    let found: Vec<_> = table.lines().filter_map(number).collect();
    found
}

#[test]
fn h13_root_a_link_local_address_keeps_its_interface_with_several_workers() {
    let test = "h13_root_a_link_local_address_keeps_its_interface_with_several_workers";
    // The same address twice: without its interface it means nothing.
    let setup = "ip link add one type veth peer name two
        for name in one two; do ip link set $name up; done
        for name in one two; do ip addr add fe80::7/64 dev $name nodad; done";
    on_own_host(test, setup, |world| {
        Box::pin(async move {
            let interfaces = interfaces_of("fe800000000000000000000000000007");
            assert_eq!(interfaces.len(), 2);
            for index in interfaces {
                let builder = echo().workers(3);
                let bound = builder.bind(format!("[fe80::7%{index}]:0")).await;
                let server = TestServer::start(bound.unwrap()).await;
                assert_eq!(server.handle.sockets().len(), 3);
                for socket in server.handle.sockets() {
                    assert_eq!(socket.local_addr().unwrap(), server.addr);
                }
                let SocketAddr::V6(addr) = server.addr else {
                    panic!("{}", server.addr)
                };
                assert_eq!(addr.scope_id(), index);
                // Enough of them to reach each worker.
                for _ in 0..20 {
                    let mut own = server.addr;
                    own.set_port(0);
                    let peer = world.peer_at(own, server.addr).await;
                    assert_eq!(peer.ask("hello").await, "hello");
                }
                server.stop().await.unwrap();
            }
        })
    });
}

#[test]
fn l5_root_a_server_does_not_talk_to_its_hosts_interfaces() {
    let test = "l5_root_a_server_does_not_talk_to_its_hosts_interfaces";
    let setup = "ip link add va type veth peer name vb
        for name in va vb; do ip link set $name up; done
        for ip in 10.9.0.1 10.9.0.2; do ip addr add $ip/24 dev va; done
        for ip in fe80::77 fe80::78; do ip addr add $ip/64 dev va nodad; done
        for ip in fe80::77 fe80::78; do
            until ip -6 route show table local | grep -q \"^local $ip \"; do :; done
        done";
    on_own_host(test, setup, |world| {
        Box::pin(async move {
            let [index] = interfaces_of("fe800000000000000000000000000077")[..] else {
                panic!("one interface");
            };
            for plain in [false, true] {
                // So that a socket of this test's may have the server's port.
                let builder = echo().workers(2).plain_transport(plain);
                let server = builder.bind_every_interface(9000).unwrap();
                let server = TestServer::start(server).await;
                for (own, to) in [
                    ("10.9.0.1:9000".to_owned(), "10.9.0.2:9000".to_owned()),
                    (
                        format!("[fe80::77%{index}]:9000"),
                        format!("[fe80::78%{index}]:9000"),
                    ),
                ] {
                    let own: SocketAddr = own.parse().unwrap();
                    sharing(own).send_to(b"forged", &to).unwrap();
                    let mut elsewhere = own;
                    elsewhere.set_port(0);
                    let neighbour = world.peer_at(elsewhere, to.parse().unwrap()).await;
                    neighbour.send("good").await;
                    assert_eq!(neighbour.recv_from().await.0, b"good");
                }
                let stats = server.stats_where(|stats| stats.sent == 2).await;
                assert_eq!((stats.received, stats.dropped_source), (4, 2));
                server.stop().await.unwrap();
            }
        })
    });
}

/// The question is there before the way back is cut, while nothing serves.
#[test]
fn v7_root_a_receive_is_told_that_no_way_leads_to_its_client() {
    let test = "v7_root_a_receive_is_told_that_no_way_leads_to_its_client";
    on_own_host(test, "ip addr add 198.51.100.1/32 dev lo", |world| {
        Box::pin(async move {
            for asked in [true, false] {
                let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
                let builder = raw_server(move |client, mut requests| {
                    let tell = tell.clone();
                    async move {
                        client.send(requests.recv().await?).await?;
                        if let Err(error) = requests.recv().await {
                            tell.send((client.remote_addr(), error))?;
                        }
                        Ok(())
                    }
                });
                let server = builder.icmp_errors(asked).bind("0.0.0.0:0").await.unwrap();
                let port = server.handle().addresses()[0].port();
                let to = SocketAddr::from(([127, 0, 0, 1], port));
                let far = world.peer_at("198.51.100.1:0".parse().unwrap(), to).await;
                far.send("question").await;
                way_back("del", "add");
                let server = TestServer::start(server).await;
                if asked {
                    let (who, error) = told.recv().await.unwrap();
                    assert_eq!(who, far.addr());
                    assert!(matches!(error, RecvError::Unreachable(error)
                        if error.kind() == std::io::ErrorKind::HostUnreachable));
                } else {
                    server.stats_where(|stats| stats.send_errors == 1).await;
                }
                let near = world.peer_at("127.0.0.1:0".parse().unwrap(), to).await;
                assert_eq!(near.ask("goes on").await, "goes on");
                server.stop().await.unwrap();
                while let Ok((_, error)) = told.try_recv() {
                    assert!(matches!(error, RecvError::Closed), "{error:?}");
                }
                world.logs.take();
                way_back("add", "del");
            }
        })
    });
}

/// Takes the address of a client away, so that nothing leads to it any more, or gives it back.
fn way_back(address: &str, barrier: &str) {
    let ip = "198.51.100.1";
    let script = format!("ip addr {address} {ip}/32 dev lo && ip route {barrier} unreachable {ip}");
    let done = Command::new("sh").args(["-ec", &script]).status();
    assert!(done.unwrap().success());
}
