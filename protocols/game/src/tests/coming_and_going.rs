//! Who is let in, and how players end.

use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::BytesMut;
use game::wire::{SEATS, ToPlayer, ToServer};
use postbox::{BoxError, Serializer};
use tokio::time::{Instant, sleep, timeout};

use super::{Arena, Peer, SIDE, SILENCE, Tested, address};
use crate::gate::PERIOD;
use crate::tick::TICK;

#[tokio::test(start_paused = true)]
async fn who_has_no_token_gets_no_more_than_it_sends_and_nothing_is_kept() -> Tested {
    let arena = Arena::new()?;
    let stats = arena
        .serve(async {
            let player = arena.player().await?;
            let victim = arena.network.socket("198.51.100.7:7".parse()?)?;
            let (mut sent, mut heard) = (0, 0);
            for forged in 0..1000_u64 {
                let mut datagram = BytesMut::new();
                SIDE.serialize(&ToServer::Join(forged), &mut datagram)?;
                arena
                    .network
                    .send_from(victim.local_addr(), &datagram, address())?;
                sent += datagram.len();
            }
            // From a thousand addresses more.
            for port in 1..=1000 {
                let from = SocketAddr::from(([203, 0, 113, 5], port));
                let join = b"\x01\0\0\0\0\0\0\0\0";
                arena.network.send_from(from, join, address())?;
            }
            assert_eq!(player.next_snapshot().await?.players().len(), 1);
            while let Ok(Ok((datagram, _))) = timeout(60 * TICK, victim.recv_from()).await {
                heard += datagram.len();
            }
            assert!(heard > 0 && heard <= sent, "{heard} bytes for {sent}");
            assert_eq!(player.next_snapshot().await?.players().len(), 1);
            Ok(())
        })
        .await?;
    assert_eq!(stats.handlers_failed, 0);
    arena
        .shared
        .with(|state| assert_eq!(state.counts.joined, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_its_address_and_for_some_time() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let (one, mut other) = (arena.peer()?, arena.peer()?);
            let token = one.asked_token().await?;
            let answer = other.ask(&ToServer::Join(token)).await?;
            assert!(matches!(answer, ToPlayer::Token(_)), "{answer:?}");
            other.join().await?;

            sleep(2 * PERIOD).await;
            let answer = one.ask(&ToServer::Join(token)).await?;
            assert!(matches!(answer, ToPlayer::Token(_)), "{answer:?}");
            // The one before is still good.
            let token = one.asked_token().await?;
            sleep(PERIOD).await;
            let answer = one.ask(&ToServer::Join(token)).await?;
            assert!(matches!(answer, ToPlayer::Welcome(_)), "{answer:?}");
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_player_and_what_others_say_for_it_does_not_keep_it() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let (stays, goes) = (arena.player().await?, arena.player().await?);
            let said_last = Instant::now();
            let mut number = 0;
            loop {
                assert!(said_last.elapsed() < 2 * SILENCE, "it is still there");
                number += 1;
                stays.steer(number, (0, 0))?;
                for forged in [&b"\x02"[..], b"\x03\0\0\0\0\0\0\0\0", &[1; 100]] {
                    arena
                        .network
                        .send_from(goes.socket.local_addr(), forged, address())?;
                }
                if stays.next_snapshot().await?.players().len() == 1 {
                    break;
                }
            }
            let lasted = said_last.elapsed();
            assert!(
                lasted >= SILENCE && lasted < SILENCE + 4 * TICK,
                "{lasted:?}"
            );
            while goes.socket.try_recv_from().is_ok() {}
            assert!(goes.hears_nothing().await);
            assert!(!stays.hears_nothing().await);
            Ok(())
        })
        .await?;
    arena
        .shared
        .with(|state| assert_eq!((state.counts.silent, state.counts.left), (1, 0)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_seat_is_free_again_when_a_player_leaves() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let mut players = Vec::new();
            for _ in 0..SEATS {
                players.push(arena.player().await?);
            }
            let mut late = arena.peer()?;
            late.token = late.asked_token().await?;
            assert_eq!(late.ask(&ToServer::Join(late.token)).await?, ToPlayer::Full);
            assert!(late.hears_nothing().await);

            players[7].say(&ToServer::Leave(late.token))?; // of another
            players[7].say(&ToServer::Leave(players[7].token))?;
            late.join().await?;
            assert_eq!(late.id, Some(7));
            assert_eq!(late.snapshot().await?.players().len(), SEATS);
            Ok(())
        })
        .await?;
    arena.shared.with(|state| {
        let counts = &state.counts;
        assert_eq!(
            (counts.joined, counts.full, counts.left),
            (SEATS as u64 + 1, 1, 1)
        );
    });
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_welcome_that_was_lost_is_said_again() -> Tested {
    let arena = Arena::new()?;
    arena
        .serve(async {
            let player = arena.player().await?;
            while player.socket.try_recv_from().is_ok() {}
            player.say(&ToServer::Join(player.token))?;
            let mut answers = vec![player.hear().await?];
            while let Ok(Ok(answer)) = timeout(TICK / 2, player.hear()).await {
                answers.push(answer);
            }
            assert!(answers.contains(&ToPlayer::Welcome(0)), "{answers:?}");
            assert_eq!(
                player.next_snapshot().await?.players().len(),
                1,
                "one seat is enough"
            );
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn everybody_is_told_bye_until_they_have_heard_it() -> Tested {
    let arena = Arena::new()?;
    let dead = arena.network.socket("192.0.2.3:0".parse()?)?;
    let mut dead = Peer {
        socket: dead,
        token: 0,
        id: None,
    };
    let hearing = Mutex::new(None);
    arena
        .serve(async {
            dead.join().await?;
            let player = arena.player().await?;
            // It goes on while the server stops. The first two are lost.
            *hearing.lock().unwrap() = Some(tokio::spawn(async move {
                for _ in 0..3 {
                    while player.hear().await? != ToPlayer::Bye {}
                }
                player.say(&ToServer::Leave(player.token))?;
                Ok::<_, BoxError>(player.hears_nothing().await)
            }));
            Ok(())
        })
        .await?;
    let hearing = hearing.into_inner()?.ok_or("it was not spawned")?;
    assert!(hearing.await??, "it was told again");
    arena.shared.with(|state| assert_eq!(state.counts.told, 1));
    // Nobody waits for long for who is dead.
    let mut byes = 0;
    while let Ok((datagram, _)) = dead.socket.try_recv_from() {
        byes += u32::from(SIDE.deserialize(&datagram)? == ToPlayer::Bye);
    }
    assert_eq!(byes, 5);
    Ok(())
}
