//! Who takes part.

use postbox_server::Limits;

use super::Args;
use crate::echo::{Codec, Style};
use crate::peers::{Order, Peer};

/// A server with its name.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) order: Order,
    /// Whether something of its waits for the client's next datagram.
    pub(super) waits: bool,
}

pub(super) fn all(args: &Args, codec: Codec, clients: usize, payload: usize) -> Vec<Contender> {
    let order = |peer, style| Order {
        peer,
        codec,
        style,
        multi: args.multi,
        // The default, unless more have to wait.
        clients: (clients + 1_000).max(Limits::default().max_clients()),
        largest: payload.max(2048),
        offloads: args.bursts,
        no_offloads: args.no_offloads,
    };
    let mut all = Vec::new();
    let mut add = |name: &str, order: Order, waits| {
        let peer = order.peer;
        if peer == Peer::Postbox || args.only.is_empty() || args.only.contains(&peer) {
            all.push(Contender {
                name: name.into(),
                order,
                waits,
            });
        }
    };
    for &style in &args.style {
        let waits = style == Style::Session;
        let name = if waits {
            "Postbox, conversations"
        } else {
            "Postbox"
        };
        add(name, order(Peer::Postbox, style), waits);
    }
    let loops = Style::Oneshot;
    let bare = match codec {
        Codec::Raw if args.bursts => "recvmmsg/sendmmsg, offloads",
        Codec::Raw => "recvmmsg/sendmmsg",
        _ => "recvmmsg/sendmmsg, serde",
    };
    add(bare, order(Peer::Mmsg, loops), false);
    add("tokio loop", order(Peer::Tokio, loops), false);
    add("UdpFramed", order(Peer::Framed, loops), false);
    add(
        "task per client",
        order(Peer::PerClient, Style::Session),
        true,
    );
    if args.python.is_some() && !args.bursts {
        for (peer, name) in [
            (Peer::EasynetworkUvloop, "EasyNetwork, uvloop"),
            (Peer::EasynetworkAsyncio, "EasyNetwork, asyncio"),
        ] {
            for &style in &args.style {
                let waits = style == Style::Session;
                let name = format!("{name}{}", if waits { ", conv." } else { "" });
                add(&name, order(peer, style), waits);
            }
        }
    }
    all
}
