//! What is sent again, when, and what is not.

use std::time::Duration;

use postbox::{BoxError, Conditions};
use tokio::time::{Instant, timeout};

use super::{Name, Packet, Peer, Tested, World, content, data, read, write};

/// What a client hears that never answers: when, in milliseconds.
async fn heard(peer: &Peer) -> Result<Vec<u128>, BoxError> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while let Ok(packet) = timeout(Duration::from_secs(60), peer.recv()).await {
        packet?;
        times.push(begin.elapsed().as_millis() / 100 * 100);
    }
    Ok(times)
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_given_up() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(100))?;
    world
        .serve(async {
            let peer = world.peer()?;
            peer.send(&read("file", &[]))?;
            assert_eq!(
                heard(&peer).await?,
                [0, 1_000, 3_000, 7_000, 15_000, 23_000]
            );
            // It says when, and then nothing: the options are sent once for each request.
            peer.send(&read("file", &[(Name::Timeout, 3)]))?;
            assert_eq!(heard(&peer).await?, [0]);
            peer.ask(&read("file", &[(Name::Timeout, 3)])).await?;
            peer.ask(&read("file", &[(Name::Timeout, 3)])).await?;
            peer.send(&Packet::Ack(0))?;
            assert_eq!(
                heard(&peer).await?,
                [0, 3_000, 9_000, 17_000, 25_000, 33_000]
            );
            assert_eq!(world.server.handle().stats().waiting_clients, 0);
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_time_adapts_to_who_answers_soon() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(512 * 100))?;
    let peer = world.peer()?;
    world
        .serve(async {
            peer.send(&read("file", &[]))?;
            for block in 1..=60 {
                assert_eq!(
                    peer.recv().await?,
                    data(
                        block,
                        &content(512 * 100)[..][512 * (usize::from(block) - 1)..][..512]
                    )
                );
                peer.send(&Packet::Ack(block))?;
            }
            assert_eq!(heard(&peer).await?, [0, 100, 300, 700, 1_500, 3_100]);
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_twice_is_one_and_a_silent_client_may_begin_anew() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(2_000))?;
    let peer = world.peer()?;
    let block = |number: u16| {
        let at = 512 * (usize::from(number) - 1);
        data(number, &content(2_000)[at..2_000.min(at + 512)])
    };
    world
        .serve(async {
            assert_eq!(peer.ask(&read("file", &[])).await?, block(1));
            assert_eq!(peer.ask(&Packet::Ack(1)).await?, block(2));
            peer.send(&read("file", &[]))?;
            assert_eq!(peer.ask(&Packet::Ack(2)).await?, block(3));
            assert_eq!(peer.recv().await?, block(3), "it is sent again");
            assert_eq!(peer.ask(&read("file", &[])).await?, block(1));
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_comes_twice_makes_nothing_be_sent_twice() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(2_000))?;
    let peer = world.peer()?;
    let mut blocks = Vec::new();
    world
        .serve(async {
            peer.send(&read("file", &[]))?;
            while blocks.len() < 4 {
                let Packet::Data(block, _) = peer.recv().await? else {
                    return Err("no data".into());
                };
                blocks.push(block);
                for _ in 0..2 {
                    peer.send(&Packet::Ack(block))?;
                }
            }
            Ok(())
        })
        .await?;
    assert_eq!(blocks, [1, 2, 3, 4]);
    assert!(peer.0.try_recv_from().is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_window_goes_on_after_what_has_arrived() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(3_000))?;
    let peer = world.peer()?;
    let window = [(Name::WindowSize, 4)];
    let blocks = async |wanted: &[u16]| {
        for &block in wanted {
            let at = 512 * (usize::from(block) - 1);
            assert_eq!(
                peer.recv().await?,
                data(block, &content(3_000)[at..3_000.min(at + 512)])
            );
        }
        Ok::<_, BoxError>(())
    };
    world
        .serve(async {
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
                peer.send(&data(block, [block as u8; 512]))?;
            }
            assert_eq!(peer.recv().await?, Packet::Ack(2), "once");
            for block in 3..=6 {
                peer.send(&data(block, [block as u8; 512]))?;
            }
            assert_eq!(peer.recv().await?, Packet::Ack(6));
            assert_eq!(peer.ask(&data(7, "")).await?, Packet::Ack(7));
            Ok(())
        })
        .await?;
    let expected: Vec<u8> = (1..=6).flat_map(|block| [block; 512]).collect();
    assert_eq!(world.get("new")?, expected);
    Ok(())
}

/// More blocks than 16 bits count: after 65,535 comes 0.
#[tokio::test(start_paused = true)]
async fn block_numbers_begin_anew() -> Tested {
    let world = World::new(1)?;
    world.put("file", content(8 * 65_540))?;
    let peer = world.peer()?;
    let mut bytes = Vec::new();
    world
        .serve(async {
            let options = [(Name::BlockSize, 8), (Name::WindowSize, 100)];
            peer.ask(&read("file", &options)).await?;
            peer.send(&Packet::Ack(0))?;
            let mut received = 0_u32;
            loop {
                let Packet::Data(block, data) = peer.recv().await? else {
                    return Err("no data".into());
                };
                received += 1;
                assert_eq!(block, received as u16);
                bytes.extend_from_slice(&data);
                if received.is_multiple_of(100) || data.len() < 8 {
                    peer.send(&Packet::Ack(block))?;
                }
                if data.len() < 8 {
                    return Ok(());
                }
            }
        })
        .await?;
    assert!(bytes == content(8 * 65_540));
    Ok(())
}

/// Reads a file as a careful client does, which sends again what was not answered.
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
        let world = World::new(seed)?;
        world.put("file", content(5_050))?;
        let delay = Duration::from_millis(5);
        let conditions = Conditions::default()
            .loss(0.1)
            .duplicate(0.05)
            .delay(delay)
            .jitter(delay);
        world.network.set_conditions(conditions);
        let peer = world.peer()?;
        world
            .serve(async {
                let options = [(Name::BlockSize, 100), (Name::WindowSize, 4)];
                let bytes = download(&peer, &read("file", &options)).await?;
                assert_eq!(bytes, content(5_050), "seed {seed}");
                Ok(())
            })
            .await?;
        assert!(world.network.stats().lost > 0);
    }
    Ok(())
}
