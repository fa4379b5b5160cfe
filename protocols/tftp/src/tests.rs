//! The server on a network in memory, where time is not waited for.

mod paths;
mod sending_again;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postbox::conformance::Conformance;
use postbox::{BoxError, MemoryNetwork, MemorySocket, Serializer, Server, Stats};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::files::Directory;
use crate::wire::{Code, Mode, Name, Packet, Request, Tftp};

type Tested = Result<(), BoxError>;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 69))
}

struct World {
    network: MemoryNetwork,
    server: Server,
    files: TempDir,
}

impl World {
    fn new(seed: u64) -> Result<Self, BoxError> {
        let network = MemoryNetwork::seeded(seed);
        let files = TempDir::new()?;
        let builder = crate::server(Directory::open(files.path())?);
        let server = builder.bind_memory(&network, address())?;
        Ok(Self {
            network,
            server,
            files,
        })
    }

    /// Serves for a talk, and until all transfers have ended.
    async fn serve(&self, talk: impl Future<Output = Tested>) -> Result<Stats, BoxError> {
        let mut talked = Err("not talked".into());
        let talk = async { talked = talk.await };
        self.server
            .serve_until_drained(talk, Duration::from_secs(60))
            .await?;
        talked?;
        Ok(self.server.handle().stats())
    }

    fn peer(&self) -> Result<Peer, BoxError> {
        Ok(Peer(self.network.socket("127.0.0.1:0".parse()?)?))
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> Tested {
        Ok(std::fs::write(self.files.path().join(name), bytes)?)
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, BoxError> {
        Ok(std::fs::read(self.files.path().join(name))?)
    }
}

struct Peer(MemorySocket);

impl Peer {
    fn send(&self, packet: &Packet) -> Tested {
        let mut datagram = BytesMut::new();
        Tftp.serialize(packet, &mut datagram)?;
        Ok(self.0.send_to(&datagram, address())?)
    }

    async fn recv(&self) -> Result<Packet, BoxError> {
        Tftp.deserialize(&self.0.recv_from().await?.0)
    }

    async fn ask(&self, packet: &Packet) -> Result<Packet, BoxError> {
        self.send(packet)?;
        self.recv().await
    }
}

fn read(file: &str, options: &[(Name, u64)]) -> Packet {
    request(false, file, Mode::Octet, options)
}

fn write(file: &str, options: &[(Name, u64)]) -> Packet {
    request(true, file, Mode::Octet, options)
}

fn request(writes: bool, file: &str, mode: Mode, options: &[(Name, u64)]) -> Packet {
    let (file, options) = (file.to_owned(), options.to_vec());
    Packet::Request(Request {
        writes,
        file,
        mode,
        options,
    })
}

fn data(block: u16, bytes: impl AsRef<[u8]>) -> Packet {
    Packet::Data(block, Bytes::copy_from_slice(bytes.as_ref()))
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * at / 7) as u8).collect()
}

#[test]
fn packets_conform() {
    Conformance::new(Tftp)
        .packets([
            read("file", &[(Name::BlockSize, 1428), (Name::TransferSize, 0)]),
            request(true, "text", Mode::Netascii, &[]),
            Packet::Ack(7),
            Packet::Error(Code::NOT_FOUND, "no".to_owned()),
            Packet::OptionAck(vec![(Name::Timeout, 1), (Name::WindowSize, 4)]),
            data(65_535, "block"),
        ])
        .without_end_mark()
        .refuses_packets([read("a\0b", &[])])
        .refuses_datagrams([
            &b""[..],
            b"\0",
            b"\0\x09",
            b"\0\x01file",
            b"\0\x01file\0mail\0",
        ])
        .refuses_datagrams([
            &b"\0\x01f\0octet\0blksize\0"[..],
            b"\0\x04\0",
            b"\0\x04\0\0\0",
        ])
        .check();
}

#[test]
fn what_is_not_known_of_options_is_left_out() -> Tested {
    let asked = b"\0\x01f\0OcTeT\0future\x001\0BLKSIZE\x001024\0tsize\0much\0";
    assert_eq!(
        Tftp.deserialize(asked)?,
        read("f", &[(Name::BlockSize, 1024)])
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_file_is_written_and_read_from_one_port() -> Tested {
    let world = World::new(1)?;
    let peer = world.peer()?;
    let stats = world
        .serve(async {
            assert_eq!(peer.ask(&write("new", &[])).await?, Packet::Ack(0));
            assert_eq!(peer.ask(&data(1, content(512))).await?, Packet::Ack(1));
            assert!(world.get("new").is_err(), "it is not complete");
            assert_eq!(peer.ask(&data(2, "")).await?, Packet::Ack(2));
            // The acknowledgement was lost.
            assert_eq!(peer.ask(&data(2, "")).await?, Packet::Ack(2));
            // The server still waits for that, and goes on with another request.
            assert_eq!(peer.ask(&read("new", &[])).await?, data(1, content(512)));
            // The client gives that up.
            let asked = [(Name::BlockSize, 300), (Name::TransferSize, 0)];
            let taken = vec![(Name::BlockSize, 300), (Name::TransferSize, 512)];
            assert_eq!(
                peer.ask(&read("/new", &asked)).await?,
                Packet::OptionAck(taken)
            );
            let (one, two) = (data(1, &content(512)[..300]), data(2, &content(512)[300..]));
            assert_eq!(peer.ask(&Packet::Ack(0)).await?, one);
            assert_eq!(peer.ask(&Packet::Ack(1)).await?, two);
            peer.send(&Packet::Ack(2))
        })
        .await?;
    assert_eq!(world.get("new")?, content(512));
    assert_eq!((stats.handlers_failed, stats.dropped()), (0, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn options_are_taken_as_far_as_they_go() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(100))?;
    world.put("empty", "")?;
    let taken = async |file: &str, asked: &[(Name, u64)]| {
        let peer = world.peer()?;
        let answer = peer.ask(&read(file, asked)).await?;
        peer.send(&Packet::Error(Code::OTHER, "enough".to_owned()))?;
        Ok::<_, BoxError>(answer)
    };
    world
        .serve(async {
            let asked = [(Name::BlockSize, 70_000), (Name::WindowSize, 60_000)];
            let answer = vec![(Name::BlockSize, 65_464), (Name::WindowSize, 4)];
            assert_eq!(
                taken("file", &asked).await?,
                Packet::OptionAck(answer),
                "256 KiB at once"
            );
            let none = [
                (Name::BlockSize, 7),
                (Name::Timeout, 256),
                (Name::WindowSize, 0),
            ];
            assert_eq!(taken("file", &none).await?, data(1, content(100)));
            // curl takes a size of 0 for an error.
            assert_eq!(
                taken("empty", &[(Name::TransferSize, 0)]).await?,
                data(1, "")
            );
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn text_has_its_line_ends_on_the_way() -> Tested {
    let world = World::new(1)?;
    world.put("text", "one\ntwo\rthree\n")?;
    let peer = world.peer()?;
    world
        .serve(async {
            let text = request(false, "text", Mode::Netascii, &[]);
            assert_eq!(peer.ask(&text).await?, data(1, "one\r\ntwo\r\0three\r\n"));
            peer.send(&Packet::Ack(1))?;
            // A line end that is cut in two by the end of a block.
            let options = [(Name::BlockSize, 8)];
            peer.ask(&request(true, "new", Mode::Netascii, &options))
                .await?;
            peer.ask(&data(1, "1234567\r")).await?;
            peer.ask(&data(2, "\n\r\0\r\n")).await?;
            Ok(())
        })
        .await?;
    assert_eq!(world.get("new")?, b"1234567\n\r\n");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_transfers_end_and_takes_no_new_one() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(700))?;
    let (begun, new, silent) = (world.peer()?, world.peer()?, world.peer()?);
    let handle = world.server.handle();
    let talk = async {
        assert_eq!(
            begun.ask(&read("file", &[])).await?,
            data(1, &content(700)[..512])
        );
        silent.ask(&read("file", &[(Name::Timeout, 50)])).await?;
        let rest = async {
            sleep(Duration::from_millis(1)).await; // what had arrived is received
            new.send(&read("file", &[]))?;
            assert_eq!(
                begun.ask(&Packet::Ack(1)).await?,
                data(2, &content(700)[512..])
            );
            begun.send(&Packet::Ack(2))?;
            let told = silent.recv().await?;
            assert!(
                matches!(told, Packet::Error(Code::OTHER, _)),
                "it is cut: {told:?}"
            );
            Ok(())
        };
        tokio::join!(handle.drain(Duration::from_secs(8)), rest).1
    };
    let (served, talked): (_, Tested) = tokio::join!(world.server.serve_forever(), talk);
    served?;
    talked?;
    let stats = handle.stats();
    assert_eq!((stats.handlers_returned, stats.dropped_shutdown), (1, 1));
    assert_eq!(stats.handlers_failed, 1);
    Ok(())
}
