//! The server on a network in memory, where time is not waited for.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postbox::conformance::Conformance;
use postbox::{BoxError, Conditions, MemoryNetwork, MemorySocket, Serializer, Server};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::files::Directory;
use crate::wire::{Code, Mode, Name, Packet, Request, Tftp};

type Tested = Result<(), BoxError>;

/// Longer than a transfer dallies.
const DRAIN: Duration = Duration::from_secs(60);

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 69))
}

struct World {
    network: MemoryNetwork,
    server: Server,
    files: TempDir,
}

fn world(seed: u64) -> Result<World, BoxError> {
    let network = MemoryNetwork::seeded(seed);
    let files = TempDir::new()?;
    let builder = crate::server(Directory::open(files.path())?);
    let server = builder.bind_memory(&network, address())?;
    Ok(World {
        network,
        server,
        files,
    })
}

struct Peer(MemorySocket);

impl Peer {
    fn new(network: &MemoryNetwork) -> Result<Self, BoxError> {
        Ok(Self(network.socket("127.0.0.1:0".parse()?)?))
    }

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

fn data(block: u16, bytes: impl Into<Bytes>) -> Packet {
    Packet::Data(block, bytes.into())
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
    let World {
        network,
        server,
        files,
    } = world(1)?;
    let peer = Peer::new(&network)?;
    let mut done = Err("not done".into());
    server
        .serve_until_drained(
            async {
                done = async {
                    assert_eq!(peer.ask(&write("new", &[])).await?, Packet::Ack(0));
                    assert_eq!(peer.ask(&data(1, content(512))).await?, Packet::Ack(1));
                    assert!(!files.path().join("new").exists(), "it is not complete");
                    assert_eq!(peer.ask(&data(2, "")).await?, Packet::Ack(2));
                    // The acknowledgement was lost.
                    assert_eq!(peer.ask(&data(2, "")).await?, Packet::Ack(2));
                    // The server still dallies, and goes on with another request.
                    assert_eq!(peer.ask(&read("new", &[])).await?, data(1, content(512)));
                    // The client gives that up.
                    let options = [(Name::BlockSize, 300), (Name::TransferSize, 0)];
                    let taken =
                        Packet::OptionAck(vec![(Name::BlockSize, 300), (Name::TransferSize, 512)]);
                    assert_eq!(peer.ask(&read("/new", &options)).await?, taken);
                    assert_eq!(
                        peer.ask(&Packet::Ack(0)).await?,
                        data(1, content(512)[..300].to_vec())
                    );
                    assert_eq!(
                        peer.ask(&Packet::Ack(1)).await?,
                        data(2, content(512)[300..].to_vec())
                    );
                    peer.send(&Packet::Ack(2))
                }
                .await;
            },
            DRAIN,
        )
        .await?;
    done?;
    assert_eq!(std::fs::read(files.path().join("new"))?, content(512));
    let stats = server.handle().stats();
    assert_eq!((stats.handlers_failed, stats.dropped()), (0, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_path_leaves_the_directory() -> Tested {
    let World {
        network,
        server,
        files,
    } = world(1)?;
    let outside = TempDir::new()?;
    std::fs::write(outside.path().join("secret"), "secret")?;
    let link = files.path().join("link");
    std::os::unix::fs::symlink(outside.path().join("secret"), link)?;
    std::fs::create_dir(files.path().join("folder"))?;
    std::fs::write(files.path().join("there"), "there")?;
    let absolute = outside.path().join("secret").display().to_string();
    let cases = [
        (read("../secret", &[]), Code::ACCESS),
        (read(&absolute, &[]), Code::ACCESS),
        (read("//etc/passwd", &[]), Code::ACCESS),
        (read("folder/../there", &[]), Code::ACCESS),
        (read("..", &[]), Code::ACCESS),
        (read(".", &[]), Code::ACCESS),
        (read("", &[]), Code::ACCESS),
        (read("/", &[]), Code::ACCESS),
        (read("link", &[]), Code::ACCESS),
        (read("folder", &[]), Code::ACCESS),
        (read("absent", &[]), Code::NOT_FOUND),
        (write("../new", &[]), Code::ACCESS),
        (write("link", &[]), Code::EXISTS),
        (write("there", &[]), Code::EXISTS),
        (write("new", &[(Name::TransferSize, u64::MAX)]), Code::FULL),
    ];
    let mut done = Err("not done".into());
    server
        .serve_until_drained(
            async {
                done = async {
                    for (request, expected) in &cases {
                        let peer = Peer::new(&network)?;
                        match peer.ask(request).await? {
                            Packet::Error(code, _) if code == *expected => {}
                            other => return Err(format!("{request:?}: {other:?}").into()),
                        }
                    }
                    Ok(())
                }
                .await;
            },
            DRAIN,
        )
        .await?;
    let done: Tested = done;
    done?;
    assert_eq!(
        std::fs::read_dir(files.path())?.count(),
        3,
        "nothing was left"
    );
    Ok(())
}

/// What a client hears that never answers, and when, in milliseconds.
async fn heard(peer: &Peer) -> Result<Vec<u128>, BoxError> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while let Ok(packet) = timeout(Duration::from_secs(60), peer.recv()).await {
        packet?;
        times.push(begin.elapsed().as_millis() / 10 * 10);
    }
    Ok(times)
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_given_up() -> Tested {
    let World {
        network,
        server,
        files,
    } = world(1)?;
    std::fs::write(files.path().join("file"), content(100))?;
    let mut results = Vec::new();
    server
        .serve_until_drained(
            async {
                for options in [&[][..], &[(Name::Timeout, 3)]] {
                    let peer = Peer::new(&network).expect("there are ports");
                    peer.send(&read("file", options)).expect("it is short");
                    results.push(heard(&peer).await);
                }
            },
            DRAIN,
        )
        .await?;
    let mut results = results.into_iter();
    let unasked = results.next().ok_or("no result")??;
    assert_eq!(unasked, [0, 1_000, 3_000, 7_000, 15_000, 23_000]);
    let asked = results.next().ok_or("no result")??;
    assert_eq!(asked, [0, 3_000, 6_000, 9_000, 12_000, 15_000]);
    assert_eq!(server.handle().stats().waiting_clients, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_comes_twice_makes_nothing_be_sent_twice() -> Tested {
    let World {
        network,
        server,
        files,
    } = world(1)?;
    std::fs::write(files.path().join("file"), content(2_000))?;
    let peer = Peer::new(&network)?;
    let mut heard = Vec::new();
    server
        .serve_until_drained(
            async {
                peer.send(&read("file", &[])).expect("it is short");
                // Four blocks, and each is acknowledged twice.
                while heard.len() < 4 {
                    let Ok(Packet::Data(block, _)) = peer.recv().await else {
                        break;
                    };
                    heard.push(block);
                    for _ in 0..2 {
                        peer.send(&Packet::Ack(block)).expect("it is short");
                    }
                }
            },
            DRAIN,
        )
        .await?;
    assert_eq!(heard, [1, 2, 3, 4]);
    assert!(peer.0.try_recv_from().is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_window_goes_on_after_what_has_arrived() -> Tested {
    let World {
        network,
        server,
        files,
    } = world(1)?;
    std::fs::write(files.path().join("file"), content(3_000))?;
    let peer = Peer::new(&network)?;
    let mut done = Err("not done".into());
    let window = [(Name::WindowSize, 4)];
    server
        .serve_until_drained(
            async {
                done = async {
                    let blocks = async |wanted: &[u16]| {
                        for block in wanted {
                            let Packet::Data(number, bytes) = peer.recv().await? else {
                                return Err(BoxError::from("no data"));
                            };
                            let at = usize::from(number - 1) * 512;
                            assert_eq!(
                                (number, &bytes[..]),
                                (*block, &content(3_000)[at..at + bytes.len()])
                            );
                        }
                        Ok(())
                    };
                    assert_eq!(
                        peer.ask(&read("file", &window)).await?,
                        Packet::OptionAck(window.into())
                    );
                    peer.send(&Packet::Ack(0))?;
                    blocks(&[1, 2, 3, 4]).await?;
                    peer.send(&Packet::Ack(2))?; // the third was lost
                    blocks(&[3, 4, 5, 6]).await?;
                    peer.send(&Packet::Ack(6))?;

                    assert_eq!(
                        peer.ask(&write("new", &window)).await?,
                        Packet::OptionAck(window.into())
                    );
                    for block in [1, 2, 4, 5] {
                        peer.send(&data(block, vec![block as u8; 512]))?;
                    }
                    assert_eq!(peer.recv().await?, Packet::Ack(2), "once");
                    for block in 3..=6 {
                        peer.send(&data(block, vec![block as u8; 512]))?;
                    }
                    assert_eq!(peer.recv().await?, Packet::Ack(6));
                    assert_eq!(peer.ask(&data(7, "")).await?, Packet::Ack(7));
                    Ok(())
                }
                .await;
            },
            DRAIN,
        )
        .await?;
    let done: Tested = done;
    done?;
    let written = std::fs::read(files.path().join("new"))?;
    let expected: Vec<u8> = (1..=6).flat_map(|block| [block; 512]).collect();
    assert_eq!(written, expected);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn text_has_its_line_ends_on_the_way() -> Tested {
    let World {
        network,
        server,
        files,
    } = world(1)?;
    std::fs::write(files.path().join("text"), "one\ntwo\rthree\n")?;
    let peer = Peer::new(&network)?;
    let mut heard = Err("not heard".into());
    server
        .serve_until_drained(
            async {
                heard = async {
                    let heard = peer
                        .ask(&request(false, "text", Mode::Netascii, &[]))
                        .await?;
                    peer.send(&Packet::Ack(1))?;
                    // A line end that is cut in two by the end of a block.
                    let options = [(Name::BlockSize, 8)];
                    peer.ask(&request(true, "new", Mode::Netascii, &options))
                        .await?;
                    peer.ask(&data(1, "1234567\r")).await?;
                    peer.ask(&data(2, "\n\r\0\r\n")).await?;
                    Ok::<_, BoxError>(heard)
                }
                .await;
            },
            DRAIN,
        )
        .await?;
    assert_eq!(heard?, data(1, "one\r\ntwo\r\0three\r\n"));
    assert_eq!(std::fs::read(files.path().join("new"))?, b"1234567\n\r\n");
    Ok(())
}

/// Reads a file as a careful client does, and answers it.
async fn download(peer: &Peer, request: &Packet) -> Result<Vec<u8>, BoxError> {
    let mut bytes = Vec::new();
    let mut last = request.clone();
    let mut expected = 1_u16;
    let mut in_window = 0;
    loop {
        if last == *request || in_window == 0 {
            peer.send(&last)?;
        }
        match timeout(Duration::from_secs(2), peer.recv()).await {
            Err(_) => in_window = 0,
            Ok(packet) => match packet? {
                Packet::OptionAck(_) => last = Packet::Ack(0),
                Packet::Data(block, data) if block == expected => {
                    bytes.extend_from_slice(&data);
                    last = Packet::Ack(block);
                    expected += 1;
                    in_window = (in_window + 1) % 4;
                    if data.len() < 100 {
                        peer.send(&last)?;
                        return Ok(bytes);
                    }
                }
                _ => in_window = 0,
            },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn files_come_whole_through_a_network_that_loses() -> Tested {
    for seed in 1..=20 {
        let World {
            network,
            server,
            files,
        } = world(seed)?;
        std::fs::write(files.path().join("file"), content(5_050))?;
        let delay = Duration::from_millis(5);
        let conditions = Conditions::default()
            .loss(0.1)
            .duplicate(0.05)
            .delay(delay)
            .jitter(delay);
        network.set_conditions(conditions);
        let peer = Peer::new(&network)?;
        let mut results = Vec::new();
        server
            .serve_until_drained(
                async {
                    let options = [(Name::BlockSize, 100), (Name::WindowSize, 4)];
                    results.push(download(&peer, &read("file", &options)).await);
                },
                DRAIN,
            )
            .await?;
        for result in results {
            assert_eq!(result?, content(5_050), "seed {seed}");
        }
        assert!(network.stats().lost > 0);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_transfers_end_and_takes_no_new_one() -> Tested {
    let World {
        network,
        server,
        files,
    } = world(1)?;
    std::fs::write(files.path().join("file"), content(700))?;
    let (begun, new, silent) = (
        Peer::new(&network)?,
        Peer::new(&network)?,
        Peer::new(&network)?,
    );
    let mut done = Err("not done".into());
    let handle = server.handle();
    let talk = async {
        done = async {
            assert_eq!(
                begun.ask(&read("file", &[])).await?,
                data(1, content(700)[..512].to_vec())
            );
            silent.ask(&read("file", &[(Name::Timeout, 5)])).await?;
            let drain = handle.drain(Duration::from_secs(8));
            let rest = async {
                sleep(Duration::from_millis(1)).await; // what had arrived is received
                new.send(&read("file", &[]))?;
                assert_eq!(
                    begun.ask(&Packet::Ack(1)).await?,
                    data(2, content(700)[512..].to_vec())
                );
                begun.send(&Packet::Ack(2))
            };
            tokio::join!(rest, drain).0
        }
        .await;
    };
    tokio::join!(server.serve_forever(), talk).0?;
    let done: Tested = done;
    done?;
    let stats = server.handle().stats();
    assert_eq!((stats.handlers_returned, stats.dropped_shutdown), (1, 1));
    assert_eq!(stats.handlers_failed, 1, "the silent one was cut");
    Ok(())
}
