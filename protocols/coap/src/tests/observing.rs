//! Observations, and how they end.

use tokio::time::{Instant, sleep};

use super::*;
use crate::observe::{
    CONFIRM_AFTER, CONFIRM_ANYHOW, CONFIRM_EVERY, MAX_RETRANSMIT, MOST, MOST_OF_ONE,
};

const CON: MessageType = MessageType::Confirmable;
const NON: MessageType = MessageType::NonConfirmable;

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_each_change_and_sometimes_has_to_confirm() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let (peer, other) = (world.peer(2)?, world.peer(3)?);
            other.put("/door", "0").await?;
            let watch = watch("/door", 1);
            let answer = peer.ask(&watch).await?;
            assert_eq!(answer.header.get_type(), MessageType::Acknowledgement);
            assert_eq!(text(&answer), "0");
            let mut last = version(&answer).ok_or("it is not observed")?;
            for change in 1..20 {
                other.put("/door", &change.to_string()).await?;
                let notification = peer.notified().await?;
                assert_eq!(text(&notification), change.to_string());
                assert_code(&notification, ResponseType::Content);
                assert_eq!(notification.get_token(), watch.get_token());
                let confirms = (change - 1) % CONFIRM_EVERY == 0;
                let kind = if confirms { CON } else { NON };
                assert_eq!(notification.header.get_type(), kind, "{change}");
                assert!(version(&notification) > Some(last));
                last = version(&notification).unwrap();
            }
            // It ends with the client's word, and not with that for another token.
            let not_this = request(GET, "/door", 2).with(CoapOption::Observe, 1);
            assert_eq!(version(&peer.ask(&not_this).await?), None);
            other.put("/door", "open").await?;
            assert_eq!(text(&peer.notified().await?), "open");
            let no_more = request(GET, "/door", 1).with(CoapOption::Observe, 1);
            let answer = peer.ask(&no_more).await?;
            assert_eq!((version(&answer), text(&answer)), (None, "open".to_owned()));
            other.put("/door", "shut").await?;
            peer.hears_nothing(Duration::from_secs(300)).await;
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_time_is_told_each_second() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let peer = world.peer(2)?;
            let time = |packet: &Packet| text(packet).parse::<u64>();
            let mut now = time(&peer.ask(&watch("/time", 1)).await?)?;
            peer.notified().await?;
            let began = Instant::now();
            for _ in 0..30 {
                let then = time(&peer.notified().await?)?;
                assert!(then > now, "{then}");
                now = then;
            }
            assert_eq!(began.elapsed().as_secs(), 30);
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_is_silent_is_forgotten() -> Tested {
    let world = World::new()?;
    let stats = world.serve(async {
        let (peer, other) = (world.peer(2)?, world.peer(3)?);
        other.put("/door", "0").await?;
        peer.ask(&watch("/door", 1)).await?;
        other.put("/door", "1").await?;
        let first = peer.recv().await?;
        assert_eq!(first.header.get_type(), CON);
        let mut before = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..MAX_RETRANSMIT {
            // What happens meanwhile does not make it more, nor does a wrong reply less.
            other.put("/door", "2").await?;
            peer.send(&empty(
                MessageType::Acknowledgement,
                first.header.message_id ^ 1,
            ))?;
            other.reply(MessageType::Acknowledgement, &first)?;
            other.reply(MessageType::Reset, &first)?;
            assert_eq!(peer.recv().await?, first);
            waits.push(before.elapsed().as_secs_f64());
            before = Instant::now();
        }
        assert!((2.0..3.1).contains(&waits[0]), "{waits:?}");
        for (wait, twice) in waits.iter().zip(&waits[1..]) {
            assert!((twice - 2.0 * wait).abs() < 0.1, "{waits:?}");
        }
        peer.hears_nothing(Duration::from_secs(600)).await;
        other.put("/door", "3").await?;
        peer.hears_nothing(Duration::from_secs(600)).await;
        Ok(())
    });
    let stats = stats.await?;
    assert_eq!(stats.handlers_failed, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_while_one_was_in_flight_is_told_at_its_end() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let (peer, other) = (world.peer(2)?, world.peer(3)?);
            other.put("/door", "0").await?;
            peer.ask(&watch("/door", 1)).await?;
            other.put("/door", "1").await?;
            let first = peer.recv().await?;
            other.put("/door", "2").await?;
            other.put("/door", "3").await?;
            peer.hears_nothing(Duration::from_secs(1)).await;
            peer.reply(MessageType::Acknowledgement, &first)?;
            let acknowledged = Instant::now();
            assert_eq!(text(&peer.notified().await?), "3");
            // The round trip took a second: no more than one in that time.
            other.put("/door", "4").await?;
            other.put("/door", "5").await?;
            assert_eq!(text(&peer.notified().await?), "5");
            let took = acknowledged.elapsed().as_secs_f64();
            assert!((1.0..1.1).contains(&took), "{took}");
            peer.hears_nothing(CONFIRM_AFTER / 2).await;
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_an_observation() -> Tested {
    for turn in 0..3 {
        let world = World::new()?;
        let stats = world.serve(async {
            let (peer, other) = (world.peer(2)?, world.peer(3)?);
            other.put("/door", "0").await?;
            let kept = peer.ask(&watch("/door", 1)).await?;
            let mut ended = peer.ask(&watch("/door", 2).with_type(NON)).await?;
            // The response itself, what is to be confirmed, and what is not.
            for _ in 0..turn {
                other.put("/door", "1").await?;
                for _ in 0..2 {
                    let notification = peer.recv().await?;
                    if notification.get_token() == ended.get_token() {
                        ended = notification;
                    } else {
                        peer.reply(MessageType::Acknowledgement, &notification)?;
                    }
                }
                if turn == 2 && ended.header.get_type() == CON {
                    peer.reply(MessageType::Acknowledgement, &ended)?;
                }
            }
            peer.reply(MessageType::Reset, &ended)?;
            other.put("/door", "open").await?;
            let notification = peer.notified().await?;
            assert_eq!(notification.get_token(), kept.get_token(), "{turn}");
            peer.hears_nothing(CONFIRM_AFTER / 2).await;
            Ok(())
        });
        assert_eq!(stats.await?.handlers_failed, 0);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_resource_ends_its_observations() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let (peer, other) = (world.peer(2)?, world.peer(3)?);
            other.put("/door", "0").await?;
            peer.ask(&watch("/door", 1)).await?;
            other.put("/door", "1").await?;
            peer.notified().await?; // so that no other reason makes the next one be confirmed
            other.ask(&request(DELETE, "/door", 2)).await?;
            let last = peer.recv().await?;
            assert_code(&last, ResponseType::NotFound);
            assert_eq!(version(&last), None);
            assert_eq!(peer.recv().await?, last); // until it is acknowledged
            peer.reply(MessageType::Acknowledgement, &last)?;
            other.put("/door", "1").await?;
            peer.hears_nothing(Duration::from_secs(300)).await;

            // As does another format than what was asked for.
            peer.ask(&watch("/door", 3)).await?;
            let json = request(PUT, "/door", 4).with(CoapOption::ContentFormat, 50);
            other.ask(&json).await?;
            assert_code(&peer.notified().await?, ResponseType::NotAcceptable);
            other.put("/door", "2").await?;
            peer.hears_nothing(Duration::from_secs(300)).await;
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_observation_is_renewed_and_answers_other_requests() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let (peer, other) = (world.peer(2)?, world.peer(3)?);
            other.put("/door", "0").await?;
            other.put("/gate", &"g".repeat(100)).await?;
            peer.ask(&watch("/door", 1)).await?;
            peer.ask(&watch("/door", 1)).await?; // it was lost, or is renewed
            other.put("/door", "1").await?;
            assert_eq!(text(&peer.notified().await?), "1");
            peer.hears_nothing(CONFIRM_AFTER / 2).await;
            assert_eq!(text(&peer.ask(&request(GET, "/door", 1)).await?), "1");
            let answer = peer.ask(&watch("/nothing", 1)).await?;
            assert_code(&answer, ResponseType::NotFound);
            other.put("/door", "2").await?;
            assert_eq!(text(&peer.notified().await?), "2");

            // The token is of another resource now, in blocks.
            let blocks = watch("/gate", 1).with(CoapOption::Block2, 1);
            assert_eq!(peer.ask(&blocks).await?.payload.len(), 32);
            other.put("/door", "3").await?;
            other.put("/gate", &"h".repeat(100)).await?;
            let notification = peer.notified().await?;
            assert_eq!(text(&notification), "h".repeat(32));
            assert_eq!(
                block(&notification, CoapOption::Block2),
                Some((0, true, 32))
            );
            // A later block is no observation.
            let later = watch("/gate", 2).with(CoapOption::Block2, 1 << 4 | 1);
            assert_eq!(version(&peer.ask(&later).await?), None);
            peer.hears_nothing(CONFIRM_AFTER / 2).await;
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_observations() -> Tested {
    let world = World::new()?;
    world
        .serve(async {
            let other = world.peer(3)?;
            other.put("/door", "0").await?;
            let mut peers = Vec::new();
            for machine in 0..MOST / MOST_OF_ONE {
                let peer = world.peer(10 + machine as u8)?;
                for id in 0..MOST_OF_ONE {
                    let answer = peer.ask(&watch("/door", id as u16)).await?;
                    assert!(version(&answer).is_some());
                }
                peers.push(peer);
            }
            let answer = other.ask(&watch("/door", 1)).await?;
            assert_code(&answer, ResponseType::Content);
            assert_eq!(version(&answer), None);
            // One that ends makes room: for others, but not for too many of one.
            let over = request(GET, "/door", 0).with(CoapOption::Observe, 1);
            peers[0].ask(&over).await?;
            assert!(version(&peers[0].ask(&watch("/door", 99)).await?).is_some());
            peers[1].ask(&over).await?;
            assert_eq!(version(&peers[2].ask(&watch("/door", 99)).await?), None);
            assert!(version(&other.ask(&watch("/door", 1)).await?).is_some());
            Ok(())
        })
        .await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_observer_of_what_never_changes_has_to_confirm_once_a_day() -> Tested {
    let world = World::new()?;
    let stats = async {
        let (peer, other) = (world.peer(2)?, world.peer(3)?);
        other.put("/door", "0").await?;
        peer.ask(&watch("/door", 1)).await?;
        sleep(CONFIRM_ANYHOW - Duration::from_secs(1)).await;
        assert!(peer.0.try_recv_from().is_err());
        let notification = peer.recv().await?;
        assert_eq!(
            (notification.header.get_type(), text(&notification)),
            (CON, "0".to_owned())
        );
        peer.reply(MessageType::Acknowledgement, &notification)?;
        peer.hears_nothing(CONFIRM_ANYHOW - Duration::from_secs(1))
            .await;
        assert_eq!(peer.recv().await?.header.get_type(), CON);
        Ok::<_, BoxError>(())
    };
    let mut talked = Err("not talked".into());
    let talk = async { talked = stats.await };
    world.server.serve_until(talk).await?;
    talked
}

#[tokio::test(start_paused = true)]
async fn a_drain_or_a_shutdown_tells_the_observers_and_waits_for_none() -> Tested {
    ends(true).await?;
    ends(false).await
}

async fn ends(drains: bool) -> Tested {
    let world = World::new()?;
    let (peer, silent, other) = (world.peer(2)?, world.peer(4)?, world.peer(3)?);
    let talk = async {
        other.put("/door", "0").await?;
        peer.ask(&watch("/door", 1)).await?;
        silent.ask(&watch("/door", 1)).await?;
        other.put("/door", "1").await?;
        peer.notified().await?;
        silent.recv().await?;
        Ok(())
    };
    let began = Instant::now();
    if drains {
        let stats = world.serve(talk).await?;
        assert_eq!((stats.handlers_failed, stats.dropped()), (0, 0));
    } else {
        let mut talked = Err("not talked".into());
        let talk = async { talked = talk.await };
        world.server.serve_until(talk).await?;
        talked?;
    }
    assert!(began.elapsed() < Duration::from_secs(1));
    for peer in [&peer, &silent] {
        let last = timeout(Duration::from_secs(9), peer.recv()).await??;
        assert_code(&last, ResponseType::ServiceUnavailable);
        assert_eq!(last.header.get_type(), NON);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_last_state_is_told_in_the_end_where_much_is_lost() -> Tested {
    let mut lost = 0;
    for seed in 0..20 {
        let world = World::seeded(seed)?;
        let stats = world.serve(async {
            let (peer, other) = (world.peer(2)?, world.peer(3)?);
            other.put("/door", "0").await?;
            peer.ask(&watch("/door", 1)).await?;
            let (address, conditions) = (peer.0.local_addr(), Conditions::default().loss(0.2));
            world
                .network
                .set_conditions_between(address, super::address(), conditions);
            world
                .network
                .set_conditions_between(super::address(), address, conditions);
            let changes = async {
                for change in 1..=20 {
                    other.put("/door", &change.to_string()).await?;
                    sleep(Duration::from_millis(change * 10)).await;
                }
                Ok::<_, BoxError>(())
            };
            let hears = async {
                while text(&peer.notified().await?) != "20" {}
                Ok(())
            };
            tokio::try_join!(changes, async { timeout(CONFIRM_AFTER * 3, hears).await? })?;
            Ok(())
        });
        assert_eq!(stats.await?.handlers_failed, 0, "{seed}");
        lost += world.network.stats().lost;
    }
    assert!(lost > 20, "{lost}");
    Ok(())
}
