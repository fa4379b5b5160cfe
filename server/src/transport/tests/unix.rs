//! A transport that nobody but this test has, written against the two traits alone: datagram sockets
//! of the Unix kind. A server on it keeps a part of the contract.
//!
//! A socket is a file named after its port, in a folder of its own; its address is `127.0.0.1`.

use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use postbox_protocol::{DatagramProtocol, RawSerializer};
use tokio::net::UnixDatagram;
use tokio::sync::Notify;

use super::*;
use crate::transport::{Capabilities, Endpoint};
use crate::{BoxError, Client, FlushError, Limits, RecvError, Requests, Server, ServerBuilder};

/// A folder of sockets, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Arc<Self> {
        let name = format!("postbox-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Arc::new(Self(path))
    }

    fn path(&self, addr: SocketAddr) -> PathBuf {
        self.0.join(addr.port().to_string())
    }

    fn bind(&self, addr: SocketAddr) -> StdDatagram {
        let socket = StdDatagram::bind(self.path(addr)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

struct UnixEndpoint {
    folder: Arc<Folder>,
    addr: SocketAddr,
    socket: StdDatagram,
}

impl Endpoint for UnixEndpoint {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn open(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(UnixTransport {
            folder: Arc::clone(&self.folder),
            socket: UnixDatagram::from_std(self.socket.try_clone()?)?,
        }))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn drops(&self) -> Option<u64> {
        None
    }
}

struct UnixTransport {
    folder: Arc<Folder>,
    socket: UnixDatagram,
}

impl Transport for UnixTransport {
    fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<()>> {
        batch.clear();
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let (buffers, metas) = batch.refill();
            let mut received = 0;
            for (buffer, meta) in buffers.iter_mut().zip(metas) {
                let Ok((len, from)) = self.socket.try_recv_from(buffer) else {
                    break;
                };
                let name = from
                    .as_pathname()
                    .and_then(|path| path.file_name())
                    .unwrap();
                *meta = Meta {
                    remote: addr(name.to_str().unwrap().parse().unwrap()),
                    local: None,
                    len,
                    segment: len,
                    truncated: false,
                };
                received += 1;
            }
            if received > 0 {
                batch.set_len(received);
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn look(&mut self) -> usize {
        1 // not needed here
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        datagrams: &[Outgoing],
    ) -> Poll<Sent> {
        let Some(first) = datagrams.first() else {
            return Poll::Ready(Sent::Left(0));
        };
        let payload = &bytes[first.start..][..first.len];
        loop {
            match self
                .socket
                .try_send_to(payload, self.folder.path(first.remote))
            {
                Ok(_) => return Poll::Ready(Sent::Left(1)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = ready!(self.socket.poll_send_ready(cx)) {
                        return Poll::Ready(Sent::Failed(error));
                    }
                }
                Err(error) => return Poll::Ready(Sent::Failed(error)),
            }
        }
    }
}

/// A server at port 7 and clients, in a folder of their own.
struct World {
    folder: Arc<Folder>,
}

impl World {
    fn new(test: &str) -> Self {
        Self {
            folder: Folder::new(test),
        }
    }

    fn bind(&self, builder: ServerBuilder) -> Server {
        let endpoint = UnixEndpoint {
            folder: Arc::clone(&self.folder),
            addr: addr(7),
            socket: self.folder.bind(addr(7)),
        };
        builder.build(|_| Ok(vec![Arc::new(endpoint)])).unwrap()
    }

    fn peer(&self, port: u16) -> Peer {
        Peer {
            socket: UnixDatagram::from_std(self.folder.bind(addr(port))).unwrap(),
            server: self.folder.path(addr(7)),
        }
    }
}

struct Peer {
    socket: UnixDatagram,
    server: PathBuf,
}

impl Peer {
    async fn send(&self, text: &str) {
        let sent = self.socket.send_to(text.as_bytes(), &self.server).await;
        assert_eq!(sent.unwrap(), text.len());
    }

    async fn recv(&self) -> String {
        let mut buffer = [0; 1000];
        let len = self.socket.recv(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..len].into()).unwrap()
    }

    async fn ask(&self, text: &str) -> String {
        self.send(text).await;
        self.recv().await
    }
}

fn raw<F, Fut>(handle: F) -> ServerBuilder
where
    F: Fn(Client<Bytes>, Requests<Bytes>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    Server::builder_fn(DatagramProtocol::new(RawSerializer), handle)
}

/// Runs a server while `talk` goes on, then shuts it down.
async fn serve(server: &Server, talk: impl Future<Output = ()>) {
    server.serve_until(talk).await.unwrap();
    let stats = server.handle().stats();
    assert_eq!(stats.received, stats.accounted(), "{stats:#?}");
}

#[test]
fn h3_conversations_go_on_side_by_side_each_in_order() {
    run(async {
        let world = World::new("h3");
        let server = world.bind(raw(|client, mut requests| async move {
            for count in 1.. {
                let request = requests.recv().await?;
                let text = String::from_utf8(request.into())?;
                client.send(format!("{count} {text}").into()).await?;
            }
            Ok(())
        }));
        let (one, two) = (world.peer(1), world.peer(2));
        serve(&server, async {
            for count in 1..50 {
                assert_eq!(one.ask("a").await, format!("{count} a"));
                assert_eq!(two.ask("b").await, format!("{count} b"));
            }
            assert_eq!(one.ask("").await, "50 ", "an empty one is one too");
        })
        .await;
    });
}

#[test]
fn h5_what_waits_starts_the_next_handler_and_h4_one_that_does_not_receive_discards_one() {
    run(async {
        let world = World::new("h5");
        let (gate, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, opened) = (Arc::clone(&gate), Arc::clone(&open));
        let server = world.bind(raw(move |client, mut requests| {
            let (gate, open) = (Arc::clone(&tell), Arc::clone(&opened));
            async move {
                let request = requests.recv().await?;
                gate.notify_one();
                open.notified().await;
                client.send(request).await?;
                Ok(())
            }
        }));
        let peer = world.peer(1);
        serve(&server, async {
            for text in ["1", "2", "3"] {
                peer.send(text).await;
            }
            for text in ["1", "2", "3"] {
                gate.notified().await;
                open.notify_one();
                assert_eq!(peer.recv().await, text);
            }
        })
        .await;
        let refusing = raw(|_, _| async { Ok(()) });
        std::fs::remove_file(world.folder.path(addr(7))).unwrap();
        let server = world.bind(refusing);
        serve(&server, async {
            peer.send("refused").await;
            while server.handle().stats().discarded < 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    });
}

#[test]
fn h7_a_receive_times_out_and_goes_on() {
    run(async {
        let world = World::new("h7");
        let limits = Limits::default().idle(Some(Duration::from_millis(20)));
        let handler = |client: Client<Bytes>, mut requests: Requests<Bytes>| async move {
            requests.recv().await?;
            let silent = requests.recv().await;
            assert!(matches!(silent, Err(RecvError::TimedOut)));
            client.send("still there?".into()).await?;
            client
                .send(requests.recv_timeout(Duration::MAX).await?)
                .await?;
            Ok(())
        };
        let server = world.bind(raw(handler).limits(limits));
        let peer = world.peer(1);
        serve(&server, async {
            assert_eq!(peer.ask("begin").await, "still there?");
            assert_eq!(peer.ask("yes").await, "yes");
        })
        .await;
    });
}

#[test]
fn v7_a_failing_datagram_is_told_to_its_client_alone() {
    run(async {
        let world = World::new("v7");
        let server = world.bind(raw(|client, mut requests| async move {
            let request = requests.recv().await?;
            if request == "gone" {
                requests.recv().await?; // once the client has gone
            }
            client.send(request.clone()).await?;
            let flushed = client.flush().await;
            assert_eq!(matches!(flushed, Err(FlushError::Io(_))), request == "gone");
            Ok(())
        }));
        serve(&server, async {
            let gone = world.peer(1);
            gone.send("gone").await;
            gone.send("now").await;
            std::fs::remove_file(world.folder.path(addr(1))).unwrap();
            drop(gone);
            assert_eq!(world.peer(2).ask("x").await, "x");
            while server.handle().stats().handlers_returned < 2 {
                tokio::task::yield_now().await;
            }
            assert!(server.handle().stats().send_errors > 0);
        })
        .await;
    });
}

#[test]
fn v4_what_came_while_nothing_served_is_handled_by_the_next_serving_and_v5_closing_frees_it() {
    run(async {
        let world = World::new("v4");
        let server = world.bind(raw(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            Ok(())
        }));
        let (peer, handle) = (world.peer(1), server.handle());
        for text in ["first", "second"] {
            peer.send(text).await; // nobody serves
            assert_eq!(handle.addresses(), [addr(7)]);
            assert_eq!(handle.capabilities(), Capabilities::default());
            serve(&server, async { assert_eq!(peer.recv().await, text) }).await;
        }
        server.close().await;
        assert!(!handle.is_listening() && handle.addresses().is_empty());
        assert!(peer.socket.send_to(b"x", &peer.server).await.is_err());
    });
}
