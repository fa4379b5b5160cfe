//! A task for each client, as a careful user writes it by hand: a map of channels, a timeout, and
//! an entry that goes with its task.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::answer;
use crate::echo::Codec;

const IDLE: Duration = Duration::from_secs(30);

pub(super) async fn serve(socket: UdpSocket, codec: Codec) -> io::Result<()> {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let mut buffer = vec![0; 65_535];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let Ok((len, client)) = received else { continue };
                let mut request = buffer[..len].to_vec();
                if let Some(requests) = clients.get(&client) {
                    match requests.try_send(request) {
                        Ok(()) | Err(TrySendError::Full(_)) => continue, // too many are dropped
                        Err(TrySendError::Closed(back)) => request = back,
                    }
                }
                let (requests, to_answer) = mpsc::channel(64);
                let _ = requests.try_send(request);
                clients.insert(client, requests);
                let (socket, ended) = (Arc::clone(&socket), ended.clone());
                tokio::spawn(async move {
                    converse(&socket, client, to_answer, codec).await;
                    let _ = ended.send(client);
                });
            }
            Some(client) = has_ended.recv() => {
                if clients.get(&client).is_some_and(mpsc::Sender::is_closed) {
                    clients.remove(&client);
                }
            }
        }
    }
}

async fn converse(
    socket: &UdpSocket,
    client: SocketAddr,
    mut requests: mpsc::Receiver<Vec<u8>>,
    codec: Codec,
) {
    while let Ok(Some(request)) = tokio::time::timeout(IDLE, requests.recv()).await {
        if let Ok(answer) = answer(codec, &request) {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}
