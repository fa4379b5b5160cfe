//! Which socket sends to whom, and as which client.

use super::super::client::Answer;
use super::*;

/// Sends nothing.
struct Nowhere;

impl SendsFirst<()> for Nowhere {
    fn client(self: Arc<Self>, _: ClientKey) -> Arc<dyn Answer<()>> {
        unreachable!("not asked for")
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Of a server that is bound to these; with `+` in front to IPv6 and IPv4.
fn clients(bound: &[&str]) -> Clients<()> {
    let socket = |bound: &&str| {
        Arc::new(ClientSocket {
            bound: addr(bound.trim_start_matches('+')),
            takes_v4: bound.starts_with('+'),
            tells_local: true,
            worker: Arc::new(Nowhere) as Arc<dyn SendsFirst<()>>,
        })
    };
    Clients {
        sockets: bound.iter().map(socket).collect(),
        secret: Secret::default(),
        local: None,
        session: SessionTag::ADDRESS,
    }
}

/// The socket that is found, and the client's remote and local address.
fn found(clients: &Clients<()>, remote: &str) -> (String, String, Option<String>) {
    let (socket, client) = clients.find(canonical(addr(remote))).unwrap();
    let local = client.local.map(|_| client.local_addr(socket.bound));
    let local = local.map(|local| local.unwrap().to_string());
    (socket.bound.to_string(), client.remote.to_string(), local)
}

fn sends(bound: &[&str], remote: &str, from: &str) {
    let (socket, written, local) = found(&clients(bound), remote);
    assert_eq!((&*socket, &*written, local), (from, remote, None));
}

fn sends_at(bound: &[&str], local: &str, remote: &str, from: &str, told: Option<&str>) {
    let clients = clients(bound).local_addr(addr(local));
    let (socket, written, local) = found(&clients, remote);
    let found = (&*socket, &*written, local.as_deref());
    assert_eq!(found, (from, remote, told));
}

#[test]
fn h17_the_first_socket_that_can_send_is_taken() {
    let two = ["10.9.0.1:7", "10.9.0.2:8", "[2001:db8::1]:9"];
    sends(&two, "10.9.0.9:5", "10.9.0.1:7");
    sends(&two, "[2001:db8::9]:5", "[2001:db8::1]:9");
    sends(&two, "239.255.0.1:5", "10.9.0.1:7");
    sends(&two, "127.0.0.1:5", "10.9.0.1:7");
}

#[test]
fn h17_a_loopback_socket_comes_last_and_sends_to_no_other_host() {
    let both = ["127.0.0.1:7", "[::1]:7", "10.9.0.1:7", "[2001:db8::1]:7"];
    sends(&both, "10.9.0.9:5", "10.9.0.1:7");
    sends(&both, "239.255.0.1:5", "10.9.0.1:7");
    sends(&both, "[2001:db8::9]:5", "[2001:db8::1]:7");
    sends(&both[..2], "127.0.0.9:5", "127.0.0.1:7");
    sends(&both[..2], "239.255.0.1:5", "127.0.0.1:7");
    sends(&both[..2], "[::1]:5", "[::1]:7");
    for remote in ["10.9.0.9:5", "[2001:db8::9]:5", "255.255.255.255:5"].map(addr) {
        let found = clients(&both[..2]).find(remote).map(|_| ());
        assert_eq!(found, Err(AddressError::Loopback { remote }));
        let named = clients(&both).local_addr(addr("127.0.0.1:7"));
        assert!(named.find(remote).is_err());
    }
}

#[test]
fn h17_the_socket_that_is_named_sends() {
    let several = ["0.0.0.0:7", "10.9.0.1:7", "10.9.0.1:8", "[::]:7"];
    let remote = "10.9.0.9:5";
    sends_at(&several, "10.9.0.1:8", remote, "10.9.0.1:8", None);
    sends_at(&several, "10.9.0.1:7", remote, "10.9.0.1:7", None);
    sends_at(&several, "[::ffff:10.9.0.1]:7", remote, "10.9.0.1:7", None);
    sends_at(&several, "0.0.0.0:7", remote, "0.0.0.0:7", None);
    let local = Some("10.9.0.2:7");
    sends_at(&several, "10.9.0.2:7", remote, "0.0.0.0:7", local);
    let (remote, local) = ("[2001:db8::9]:5", "[2001:db8::1]:7");
    sends_at(&several, local, remote, "[::]:7", Some(local));
    for local in ["10.9.0.2:8", "10.9.0.1:9", "0.0.0.0:8", "[::1]:8"].map(addr) {
        let clients = clients(&several).local_addr(local);
        let found = clients.find(addr(remote)).map(|_| ());
        assert_eq!(found, Err(AddressError::NoSocket { local }));
    }
}

#[test]
fn h17_each_family_has_sockets_of_its_own_unless_one_takes_both() {
    for (bound, remote) in [
        ("[::]:7", "10.9.0.9:5"),
        ("0.0.0.0:7", "[2001:db8::9]:5"),
        ("+[2001:db8::1]:7", "10.9.0.9:5"),
        ("+[::ffff:10.9.0.1]:7", "[2001:db8::9]:5"),
    ] {
        let remote = addr(remote);
        let found = clients(&[bound]).find(remote).map(|_| ());
        assert_eq!(found, Err(AddressError::Family { remote }), "{bound}");
    }
    sends(&["+[::]:7"], "[2001:db8::9]:5", "[::]:7");
    sends(&["+[::]:7"], "[::ffff:10.9.0.9]:5", "[::]:7");
    for bound in ["+[::]:7", "+[::ffff:10.9.0.1]:7"] {
        let (_, written, local) = found(&clients(&[bound]), "10.9.0.9:5");
        assert_eq!((&*written, local), ("[::ffff:10.9.0.9]:5", None), "{bound}");
    }
    let local = Some("[::ffff:10.9.0.1]:7");
    let remote = "[::ffff:10.9.0.9]:5";
    sends_at(&["+[::]:7"], "10.9.0.1:7", remote, "[::]:7", local);
    sends_at(&["+[::]:7"], "[::ffff:10.9.0.1]:7", remote, "[::]:7", local);
    // Not an address of the server's, nor of this host.
    let local = addr("0.0.0.0:7");
    let found_by = clients(&["+[::]:7"]).local_addr(local);
    let none = found_by.find(addr(remote)).map(|_| ());
    assert_eq!(none, Err(AddressError::NoSocket { local }));
    // And an IPv4 socket has it as IPv4.
    let (_, written, _) = found(&clients(&["0.0.0.0:7"]), remote);
    assert_eq!(written, "10.9.0.9:5");
}

#[test]
fn h17_nobody_has_port_0_or_no_address() {
    for remote in ["10.9.0.9:0", "0.0.0.0:5", "[::]:5", "0.0.0.0:0"].map(addr) {
        let found = clients(&["0.0.0.0:7", "[::]:7"]).find(remote).map(|_| ());
        assert_eq!(found, Err(AddressError::Nobody { remote }));
    }
    let mapped = clients(&["+[::]:7"]).to(addr("[::ffff:0.0.0.0]:5")).err();
    let remote = addr("0.0.0.0:5");
    assert_eq!(mapped, Some(AddressError::Nobody { remote }));
}

#[test]
fn h17_the_zone_counts_where_an_address_means_nothing_without() {
    let wildcard = ["[::]:7"];
    sends_at(
        &wildcard,
        "[fe80::1%3]:7",
        "[fe80::9%3]:5",
        "[::]:7",
        Some("[fe80::1%3]:7"),
    );
    sends(&wildcard, "[ff02::1%3]:5", "[::]:7");
    let (_, written, _) = found(&clients(&wildcard), "[2001:db8::9%3]:5");
    assert_eq!(written, "[2001:db8::9]:5");
    let mut flow = addr("[2001:db8::9]:5");
    if let SocketAddr::V6(flow) = &mut flow {
        flow.set_flowinfo(7);
    }
    assert_eq!(canonical(flow), addr("[2001:db8::9]:5"));
    sends_at(
        &["[fe80::1%2]:7", "[fe80::1%3]:7"],
        "[fe80::1%3]:7",
        "[fe80::9%3]:5",
        "[fe80::1%3]:7",
        None,
    );
}

#[test]
fn h17_from_a_group_or_broadcast_address_the_system_chooses_the_source() {
    for (local, chosen) in [
        ("10.9.0.1:7", false),
        ("239.255.0.1:7", true),
        ("255.255.255.255:7", true),
    ] {
        let clients = clients(&["0.0.0.0:7"]).local_addr(addr(local));
        let (_, client) = clients.find(addr("10.9.0.9:5")).unwrap();
        let local = client.local.unwrap();
        assert_eq!(local.reply_from.is_none(), chosen, "{local:?}");
    }
}

#[test]
fn h17_where_the_transport_cannot_tell_the_local_address_it_only_chooses_the_socket() {
    let mut clients = clients(&["0.0.0.0:7"]).local_addr(addr("10.9.0.1:7"));
    let remote = addr("10.9.0.9:5");
    assert!(clients.find(remote).unwrap().1.local.is_some());
    let socket = ClientSocket {
        bound: addr("0.0.0.0:7"),
        takes_v4: false,
        tells_local: false,
        worker: Arc::new(Nowhere) as Arc<dyn SendsFirst<()>>,
    };
    clients.sockets = [Arc::new(socket)].into();
    assert!(clients.find(remote).unwrap().1.local.is_none());
}
