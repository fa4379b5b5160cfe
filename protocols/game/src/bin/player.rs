//! Players, as many as are wanted, who go around at random.
//!
//! ```text
//! player ADDRESS PLAYERS SECONDS
//! ```
//!
//! Prints `in` once each of them has a seat or was refused one, and in the end what they saw.

use std::env;
use std::time::Duration;

use game::wire::{Format, ToPlayer, ToServer, Token};
use postbox::{BoxError, DatagramProtocol, UdpClient, UdpRecvError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

type Server = UdpClient<ToServer, ToPlayer>;

/// They do not all leave in one moment.
const LEAVING: Duration = Duration::from_millis(500);

/// What a player saw.
#[derive(Debug, Default)]
struct Seen {
    snapshots: u32,
    first_tick: u32,
    last_tick: u32,
    /// How many were in the fullest snapshot, and in the last one before players begin to leave.
    most: usize,
    last: usize,
    /// Between two snapshots, in microseconds.
    gaps: Vec<u128>,
    refused: bool,
    bye: bool,
}

/// Gets a seat: asks each quarter of a second until there is an answer. It is none if all are taken.
async fn join(server: &Server) -> Result<Option<Token>, BoxError> {
    let mut token = 0;
    loop {
        server.send(ToServer::Join(token)).await?;
        match server.recv_timeout(Duration::from_millis(250)).await {
            Ok(ToPlayer::Token(given)) => token = given,
            Ok(ToPlayer::Welcome(_) | ToPlayer::Snapshot(_)) => return Ok(Some(token)),
            Ok(ToPlayer::Full | ToPlayer::Bye) => return Ok(None),
            Err(UdpRecvError::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn play(
    server: Server,
    until: Instant,
    inside: watch::Sender<usize>,
) -> Result<Seen, BoxError> {
    let mut seen = Seen::default();
    let joined = join(&server).await?;
    inside.send_modify(|inside| *inside += 1);
    let Some(token) = joined else {
        seen.refused = true;
        return Ok(seen);
    };
    let mut before: Option<Instant> = None;
    let mut number = 0_u32;
    while let Ok(said) = timeout_at(until, server.recv()).await {
        let snapshot = match said? {
            ToPlayer::Snapshot(snapshot) => snapshot,
            ToPlayer::Bye => {
                seen.bye = true;
                break;
            }
            _ => continue,
        };
        let now = Instant::now();
        seen.gaps
            .extend(before.map(|before| (now - before).as_micros()));
        before = Some(now);
        if seen.snapshots == 0 {
            seen.first_tick = snapshot.tick();
        }
        seen.snapshots += 1;
        seen.last_tick = snapshot.tick();
        let players = snapshot.players().len();
        seen.most = seen.most.max(players);
        if now + LEAVING < until {
            seen.last = players;
        }
        // Twenty times a second it says where it goes, and changes its mind each second.
        if seen.snapshots % 3 == 0 {
            number += 1;
            let mind = number / 20 + u32::from(server.local_addr().port());
            let direction = ((mind % 3) as i8 - 1, (mind / 3 % 3) as i8 - 1);
            let steer = ToServer::Steer {
                token,
                number,
                direction,
            };
            server.send(steer).await?;
        }
    }
    server.send(ToServer::Leave(token)).await?;
    Ok(seen)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, players, seconds] = &arguments[..] else {
        return Err("usage: player ADDRESS PLAYERS SECONDS".into());
    };
    let (players, seconds): (usize, u64) = (players.parse()?, seconds.parse()?);
    let until = Instant::now() + Duration::from_secs(seconds);

    let (inside, mut all) = watch::channel(0);
    let mut tasks = JoinSet::new();
    for _ in 0..players {
        let server =
            Server::connect(address.as_str(), DatagramProtocol::new(Format::new())).await?;
        tasks.spawn(play(server, until, inside.clone()));
    }
    if timeout_at(until, all.wait_for(|inside| *inside == players))
        .await
        .is_ok()
    {
        println!("in");
    }
    let mut all = Vec::new();
    while let Some(seen) = tasks.join_next().await {
        all.push(seen??);
    }
    print(&all);
    Ok(())
}

fn print(all: &[Seen]) {
    let joined = || all.iter().filter(|seen| !seen.refused);
    let ticks: u32 = joined()
        .filter(|seen| seen.snapshots > 0)
        .map(|seen| seen.last_tick - seen.first_tick + 1)
        .sum();
    let snapshots: u32 = joined().map(|seen| seen.snapshots).sum();
    println!(
        "joined {}, refused {}, bye {}, snapshots {snapshots}, missed {}, most {}, last {}..{}",
        joined().count(),
        all.iter().filter(|seen| seen.refused).count(),
        all.iter().filter(|seen| seen.bye).count(),
        ticks.saturating_sub(snapshots),
        joined().map(|seen| seen.most).min().unwrap_or(0),
        joined().map(|seen| seen.last).min().unwrap_or(0),
        joined().map(|seen| seen.last).max().unwrap_or(0),
    );
    let mut gaps: Vec<_> = all.iter().flat_map(|seen| &seen.gaps).collect();
    gaps.sort_unstable();
    if let (Some(most), false) = (gaps.last(), gaps.is_empty()) {
        let at = |share: usize| gaps[(gaps.len() - 1) * share / 1000];
        println!(
            "gaps in us: shortest {}, p1 {}, median {}, p99 {}, p99.9 {}, longest {most}",
            gaps[0],
            at(10),
            at(500),
            at(990),
            at(999),
        );
    }
}
