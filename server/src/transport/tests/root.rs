//! What needs addresses, routes and devices that loopback does not have.
//!
//! With `POSTBOX_ROOT_TESTS=1` these tests run, as root, each in a network namespace of its own
//! that `unshare` and `ip` prepare. Otherwise they say that they did nothing.

mod forged;
mod full;

use std::env;
use std::net::{IpAddr, Ipv6Addr};
use std::process::Command;

use socket2::SockRef;

use super::udp_local::ask;
use super::*;
use crate::transport::socket::{SocketConfig, open_group};

/// Runs `body` in a new network namespace, after the shell commands of `setup`.
///
/// The namespace belongs to a process, so this starts the test program once more for one test,
/// which is named by its path in this module.
fn in_namespace(test: &str, setup: &str, body: impl FnOnce()) {
    const INSIDE: &str = "POSTBOX_INSIDE_NAMESPACE";
    if env::var(INSIDE).is_ok() {
        return body();
    }
    if env::var("POSTBOX_ROOT_TESTS").as_deref() != Ok("1") {
        println!("{test} does nothing: it needs root, and POSTBOX_ROOT_TESTS=1");
        return;
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    // The kernel makes a new IPv6 address its own a moment after `ip` has ended.
    let script = format!(
        "usable() {{ until ip -6 route show table local | grep -q \"^local $1 \"; do :; done; }}
        ip link set lo up
        {setup}
        exec \"$@\""
    );
    let output = Command::new("unshare")
        .args(["--net", "sh", "-ec", &script, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--nocapture", "--exact", &format!("{module}::{test}")])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
}

/// An interface beside loopback. What it sends to its own addresses and groups comes back.
const DEVICE: &str = "ip link add va type veth peer name vb
    ip addr add 10.9.0.1/24 brd 10.9.0.255 dev va
    ip addr add 2001:db8::9/64 dev va nodad
    ip addr add fe80::77/64 dev va nodad
    ip link set va up
    ip link set vb up
    for ip in 2001:db8::9 fe80::77; do usable $ip; done";

/// Returns the number of that interface. `/sys` may show another namespace's.
fn device_index() -> u32 {
    let output = Command::new("ip")
        .args(["-o", "link", "show", "va"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(':').next().unwrap().parse().unwrap()
}

#[test]
fn h13_root_replies_leave_from_each_address_of_ipv6() {
    let setup = "for ip in 2001:db8::1 2001:db8::2; do
            ip addr add $ip/128 dev lo nodad
            usable $ip
        done";
    in_namespace(
        "h13_root_replies_leave_from_each_address_of_ipv6",
        setup,
        || {
            let socket = open("[::]:0");
            let port = addr_of(&socket).port();
            run(async {
                let mut transport = udp(socket, false).unwrap();
                let client = client("::1");
                for ip in ["2001:db8::2", "2001:db8::1", "::1"] {
                    let asked = SocketAddr::new(ip.parse().unwrap(), port);
                    ask(&mut transport, &client, asked).await;
                    assert_eq!(hear(&client), (b"answer".to_vec(), asked));
                }
            });
        },
    );
}

#[test]
fn h13_root_broadcast_is_answered_from_the_interfaces_own_address() {
    let test = "h13_root_broadcast_is_answered_from_the_interfaces_own_address";
    in_namespace(test, DEVICE, || {
        let socket = open("0.0.0.0:0");
        let port = addr_of(&socket).port();
        run(async {
            let mut transport = udp(socket, false).unwrap();
            let client = client("10.9.0.1");
            client.set_broadcast(true).unwrap();
            SockRef::from(&client).bind_device(Some(b"va")).unwrap();
            for ip in ["10.9.0.255", "255.255.255.255"] {
                let asked = SocketAddr::new(ip.parse().unwrap(), port);
                let local = ask(&mut transport, &client, asked).await.local.unwrap();
                assert_eq!(local.asked, asked.ip());
                SockRef::from(&client).bind_device(None).unwrap(); // answers come by loopback
                assert_eq!(hear(&client).1, SocketAddr::from(([10, 9, 0, 1], port)));
                SockRef::from(&client).bind_device(Some(b"va")).unwrap();
            }
        });
    });
}

#[test]
fn h13_root_multicast_on_ipv6_keeps_its_interface() {
    in_namespace(
        "h13_root_multicast_on_ipv6_keeps_its_interface",
        DEVICE,
        || {
            let group: Ipv6Addr = "ff02::4:5:6".parse().unwrap();
            let interface = device_index();
            let socket = open("[::]:0");
            socket.join_multicast_v6(&group, interface).unwrap();
            let port = addr_of(&socket).port();
            run(async {
                let mut transport = udp(socket, false).unwrap();
                let client = client("2001:db8::9");
                SockRef::from(&client)
                    .set_multicast_if_v6(interface)
                    .unwrap();
                client.send_to(b"ask", (group, port)).unwrap();
                let mut batch = RecvBatch::new(4, 10);
                let (meta, _) = recv_all(&mut transport, &mut batch, 1).await.remove(0);
                let local = LocalAddr {
                    asked: group.into(),
                    reply_from: None,
                    interface,
                };
                assert_eq!(meta.local, Some(local));
                // The dummy interface swallows what has to leave through it, so no answer is heard.
                answer(&mut transport, meta.remote, meta.local, b"answer").await;
            });
        },
    );
}

#[test]
fn h13_root_link_local_keeps_its_interface() {
    in_namespace("h13_root_link_local_keeps_its_interface", DEVICE, || {
        let interface = device_index();
        let socket = open("[::]:0");
        let port = addr_of(&socket).port();
        let ip: Ipv6Addr = "fe80::77".parse().unwrap();
        let at = |port| std::net::SocketAddrV6::new(ip, port, 0, interface);
        run(async {
            let mut transport = udp(socket, false).unwrap();
            let client = UdpSocket::bind(at(0)).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let meta = ask(&mut transport, &client, at(port).into()).await;
            let ip = IpAddr::V6(ip);
            let local = LocalAddr {
                asked: ip,
                reply_from: Some(ip),
                interface,
            };
            assert_eq!(meta.local, Some(local));
            assert_eq!(hear(&client), (b"answer".to_vec(), at(port).into()));
        });
    });
}

#[test]
fn v7_root_runs_beyond_the_mtu_are_sent_singly() {
    in_namespace(
        "v7_root_runs_beyond_the_mtu_are_sent_singly",
        "ip link set lo mtu 1500",
        || {
            let socket = open("127.0.0.1:0");
            run(async {
                let mut transport = udp(socket, true).unwrap();
                let client = client("127.0.0.1");
                let to = client.local_addr().unwrap();
                // In between, and after, runs that fit still travel as one.
                for (len, first_step) in [(1000, 3), (2000, 3), (1000, 3)] {
                    let payload = vec![1; len];
                    let (bytes, datagrams) = outgoing(to, None, &[&payload[..]; 3]);
                    match send(&mut transport, &bytes, &datagrams).await {
                        Sent::Left(left) => assert_eq!(left, first_step),
                        Sent::Failed(error) => panic!("{error}"),
                    }
                    for _ in 0..3 {
                        assert_eq!(hear(&client).0, payload);
                    }
                }
                assert_eq!(transport.segment_limit(), 1999);
            });
        },
    );
}

#[test]
fn v7_root_unreachable_clients_keep_no_other_from_an_answer() {
    let test = "v7_root_unreachable_clients_keep_no_other_from_an_answer";
    in_namespace(test, "ip route add unreachable 198.51.100.0/24", || {
        let socket = open("0.0.0.0:0");
        run(async {
            let mut transport = udp(socket, true).unwrap();
            let client = client("127.0.0.1");
            let to = client.local_addr().unwrap();
            let (bytes, mut datagrams) = outgoing(to, None, &[b"a", b"b", b"c", b"d"]);
            datagrams[0].remote = "203.0.113.1:9".parse().unwrap(); // no route at all
            datagrams[2].remote = "198.51.100.1:9".parse().unwrap();
            let failed = send_all(&mut transport, &bytes, &datagrams).await;
            let failed: Vec<_> = failed
                .iter()
                .map(|(at, error)| (*at, error.kind()))
                .collect();
            let unreachable = [
                io::ErrorKind::NetworkUnreachable,
                io::ErrorKind::HostUnreachable,
            ];
            assert_eq!(failed, [(0, unreachable[0]), (2, unreachable[1])]);
            assert_eq!(hear(&client).0, b"b");
            assert_eq!(hear(&client).0, b"d");
        });
    });
}

#[test]
fn v1_root_port_0_is_never_a_port_that_others_share() {
    // The kernel could choose from so few ports that it would soon choose one twice.
    let setup = "echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range";
    in_namespace(
        "v1_root_port_0_is_never_a_port_that_others_share",
        setup,
        || {
            let config = SocketConfig {
                reuse_port: true,
                ..SocketConfig::default()
            };
            let any = "127.0.0.1:0".parse().unwrap();
            let groups: Vec<_> = (0..10)
                .map(|_| open_group(any, 2, &config).unwrap())
                .collect();
            let ports: std::collections::HashSet<_> = groups
                .iter()
                .map(|group| addr_of(&group[0]).port())
                .collect();
            assert_eq!(ports.len(), 10);
            assert!(open_group(any, 1, &config).is_err());
        },
    );
}

#[test]
fn root_without_fragments_what_is_longer_than_the_device_takes_is_refused() {
    let test = "root_without_fragments_what_is_longer_than_the_device_takes_is_refused";
    in_namespace(test, "ip link set lo mtu 1300", || {
        for (ip, fits) in [("127.0.0.1", 1300 - 28), ("::1", 1300 - 48)] {
            let addr = SocketAddr::new(ip.parse().unwrap(), 0);
            for dont_fragment in [false, true] {
                let config = SocketConfig {
                    dont_fragment,
                    ..SocketConfig::default()
                };
                let socket = open_with(&addr.to_string(), &config);
                let client = client(ip);
                let to = client.local_addr().unwrap();
                run(async {
                    let mut transport = udp(socket, false).unwrap();
                    answer(&mut transport, to, None, &vec![1; fits]).await;
                    assert_eq!(hear(&client).0.len(), fits);
                    let longer = vec![1; fits + 1];
                    let (bytes, datagrams) = outgoing(to, None, &[&longer]);
                    let failed = send_all(&mut transport, &bytes, &datagrams).await;
                    assert_eq!(failed.len(), usize::from(dont_fragment), "{failed:?}");
                });
            }
        }
    });
}
