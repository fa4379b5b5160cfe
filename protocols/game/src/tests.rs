//! The server on a network in memory, where time is not waited for.

mod coming_and_going;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use game::wire::{Format, SEATS, Snapshot, ToPlayer, ToServer, Token};
use postbox::conformance::Conformance;
use postbox::{BoxError, MemoryNetwork, MemorySocket, Serializer, Server, Stats};
use tokio::time::{Instant, advance, timeout};

use crate::state::Shared;
use crate::tick::TICK;

type Tested = Result<(), BoxError>;

const SILENCE: Duration = Duration::from_secs(5);
const SIDE: Format<ToServer, ToPlayer> = Format::new();

fn address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 60))
}

struct Arena {
    network: MemoryNetwork,
    shared: Shared,
    server: Server,
}

impl Arena {
    fn new() -> Result<Self, BoxError> {
        let (network, shared) = (MemoryNetwork::new(), Shared::new());
        let server = crate::server(shared.clone(), SILENCE).bind_memory(&network, address())?;
        Ok(Self {
            network,
            shared,
            server,
        })
    }

    /// Serves for a talk, and until everybody was told that it is over.
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
        let socket = self.network.socket("192.0.2.2:0".parse()?)?;
        Ok(Peer {
            socket,
            token: 0,
            id: None,
        })
    }

    async fn player(&self) -> Result<Peer, BoxError> {
        let mut peer = self.peer()?;
        peer.join().await?;
        Ok(peer)
    }
}

struct Peer {
    socket: MemorySocket,
    token: Token,
    id: Option<u16>,
}

impl Peer {
    fn say(&self, message: &ToServer) -> Tested {
        let mut datagram = BytesMut::new();
        SIDE.serialize(message, &mut datagram)?;
        Ok(self.socket.send_to(&datagram, address())?)
    }

    async fn hear(&self) -> Result<ToPlayer, BoxError> {
        let heard = timeout(Duration::from_secs(60), self.socket.recv_from());
        SIDE.deserialize(&heard.await??.0)
    }

    async fn ask(&self, message: &ToServer) -> Result<ToPlayer, BoxError> {
        self.say(message)?;
        self.hear().await
    }

    async fn join(&mut self) -> Tested {
        self.token = self.asked_token().await?;
        match self.ask(&ToServer::Join(self.token)).await? {
            ToPlayer::Welcome(id) => self.id = Some(id),
            other => return Err(format!("not welcome: {other:?}").into()),
        }
        Ok(())
    }

    async fn asked_token(&self) -> Result<Token, BoxError> {
        match self.ask(&ToServer::Join(0)).await? {
            ToPlayer::Token(token) => Ok(token),
            other => Err(format!("no token: {other:?}").into()),
        }
    }

    fn steer(&self, number: u32, direction: (i8, i8)) -> Tested {
        let token = self.token;
        self.say(&ToServer::Steer {
            token,
            number,
            direction,
        })
    }

    async fn snapshot(&self) -> Result<Snapshot, BoxError> {
        loop {
            if let ToPlayer::Snapshot(snapshot) = self.hear().await? {
                return Ok(snapshot);
            }
        }
    }

    /// The first snapshot that is made from now on.
    async fn next_snapshot(&self) -> Result<Snapshot, BoxError> {
        while self.socket.try_recv_from().is_ok() {}
        self.snapshot().await
    }

    /// Nothing comes for some ticks.
    async fn hears_nothing(&self) -> bool {
        timeout(5 * TICK, self.hear()).await.is_err()
    }
}

fn places(snapshot: &Snapshot) -> Vec<(u16, (u16, u16))> {
    snapshot.players().collect()
}

#[test]
fn what_players_say_conforms() {
    Conformance::between(
        Format::<ToServer, ToPlayer>::new(),
        Format::<ToPlayer, ToServer>::new(),
    )
    .packets([
        ToServer::Join(7),
        ToServer::Steer {
            token: u64::MAX,
            number: 3,
            direction: (-128, 127),
        },
        ToServer::Leave(0),
    ])
    .refuses_datagrams([
        &b""[..],
        b"\x01",
        b"\x01\0\0\0\0\0\0\0",
        b"\x04\0\0\0\0\0\0\0\0",
    ])
    .check();
}

#[test]
fn what_the_server_says_conforms() {
    let everybody = (0..SEATS as u16).map(|id| (id, (id, 999)));
    Conformance::between(
        Format::<ToPlayer, ToServer>::new(),
        Format::<ToServer, ToPlayer>::new(),
    )
    .packets([
        ToPlayer::Token(7),
        ToPlayer::Welcome(199),
        ToPlayer::Full,
        ToPlayer::Snapshot(Snapshot::new(u32::MAX, everybody)),
        ToPlayer::Snapshot(Snapshot::new(0, [].into_iter())),
        ToPlayer::Bye,
    ])
    .refuses_datagrams([
        &b""[..],
        b"\x04",
        b"\x04\0\0\0\x01\0\x01",
        b"\x04\0\0\0\x01\0\0\0",
        b"\x06",
    ])
    .check();
}

#[tokio::test(start_paused = true)]
async fn everybody_sees_everybody_in_each_tick() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let players = [
                arena.player().await?,
                arena.player().await?,
                arena.player().await?,
            ];
            let begin = players[0].next_snapshot().await?.tick();
            for tick in begin + 1..=begin + 60 {
                let snapshot = players[0].snapshot().await?;
                assert_eq!((snapshot.tick(), snapshot.players().len()), (tick, 3));
            }
            for player in &players[1..] {
                let snapshot = player.next_snapshot().await?;
                let ids: Vec<_> = snapshot.players().map(|(id, _)| id).collect();
                assert_eq!(ids, [0, 1, 2]);
            }
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn there_are_sixty_ticks_a_second() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let player = arena.player().await?;
            let (begin, first) = (Instant::now(), player.snapshot().await?.tick());
            while player.snapshot().await?.tick() < first + 240 {}
            // To the timer's millisecond.
            let lasted = begin.elapsed().as_millis();
            assert!((3_999..=4_018).contains(&lasted), "{lasted} ms");
            Ok(())
        })
        .await?;
    arena
        .shared
        .with(|state| assert_eq!(state.counts.skipped, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_is_late_makes_up_for_those_before_with_one_snapshot() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let player = arena.player().await?;
            player.steer(0, (1, 0))?;
            let before = player.next_snapshot().await?;
            advance(10 * TICK).await;
            let after = player.next_snapshot().await?;
            let ticks = after.tick() - before.tick();
            assert!(ticks > 5, "{ticks}");
            let moved = places(&after)[0].1.0 - places(&before)[0].1.0;
            assert_eq!(u32::from(moved), ticks);
            assert_eq!(player.snapshot().await?.tick(), after.tick() + 1);
            Ok(())
        })
        .await?;
    arena.shared.with(|state| assert!(state.counts.skipped > 5));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn inputs_are_applied_in_the_tick_and_older_ones_are_not() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let player = arena.player().await?;
            let (_, (x, y)) = places(&player.next_snapshot().await?)[0];
            player.steer(2, (1, 1))?;
            player.steer(1, (-1, -1))?; // it was overtaken
            let seen = places(&player.next_snapshot().await?);
            assert_eq!(seen, [(0, (x + 1, y + 1))]);
            let seen = places(&player.next_snapshot().await?);
            assert_eq!(seen, [(0, (x + 2, y + 2))]);
            Ok(())
        })
        .await?;
    Ok(())
}
