//! The barest loop there is: a batch in, a batch out; with offloads each of them many datagrams.

use std::io;
use std::net::UdpSocket;

use socket2::Socket;

use super::{Order, answer};
use crate::echo::Codec;
use crate::mmsg::{self, Along, Batch};

pub(super) fn serve(socket: UdpSocket, order: &Order) -> io::Result<()> {
    let socket = Socket::from(socket);
    let mut batch = if order.offloads {
        mmsg::coalesce(&socket)?;
        Batch::new(16, 65_535, Along::Segments)
    } else {
        Batch::new(64, order.largest, Along::Nothing)
    };
    loop {
        let Ok(received) = batch.receive(&socket, true) else {
            continue;
        };
        for slot in 0..received {
            if order.offloads {
                let len = batch.payload(slot).len();
                let segment = batch.segment(slot).filter(|segment| *segment < len);
                batch.set_segment(slot, segment.and_then(|segment| segment.try_into().ok()));
            }
            if order.codec == Codec::Raw {
                batch.keep_payload(slot);
            } else if let Ok(answer) = answer(order.codec, batch.payload(slot)) {
                batch.set_payload(slot, &answer);
            }
        }
        let mut sent = 0;
        while sent < received {
            // What cannot be sent is left out.
            sent += batch.send(&socket, sent, received).unwrap_or(1);
        }
    }
}
