//! What the documentation of tokio shows: receive, answer, and so on.

use std::io;

use tokio::net::UdpSocket;

use super::answer;
use crate::echo::Codec;

pub(super) async fn serve(socket: UdpSocket, codec: Codec) -> io::Result<()> {
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((len, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let request = &buffer[..len];
        if codec == Codec::Raw {
            let _ = socket.send_to(request, client).await;
        } else if let Ok(answer) = answer(codec, request) {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}
