//! When a question is sent again.

use super::*;

/// The times between the sendings of a question that nobody answers, in milliseconds.
async fn pauses(client: &Asking, peer: &mut Peer, times: AskTimes) -> Vec<u128> {
    let asking = Arc::clone(client);
    let asked = tokio::spawn(async move { ask_with(&asking, 1, &times).await });
    let ended = asked.await.unwrap();
    assert!(matches!(ended, Err(AskError::TimedOut)), "{ended:?}");
    let sent: Vec<_> = std::iter::from_fn(|| peer.sent.try_recv().ok()).collect();
    assert!(
        sent.iter().all(|(_, packet)| *packet == sent[0].1),
        "{sent:?}"
    );
    let pairs = sent.windows(2).map(|pair| pair[1].0 - pair[0].0);
    pairs.map(|pause| pause.as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn c4_a_question_is_repeated_after_a_second_and_a_random_half_and_twice_that_each_time() {
    let mut firsts = Vec::new();
    for _ in 0..20 {
        let (client, mut peer) = pair(64);
        let pauses = pauses(&client, &mut peer, AskTimes::default()).await;
        assert!((3..=4).contains(&pauses.len()), "in 30 seconds: {pauses:?}");
        assert!((1000..=1501).contains(&pauses[0]), "{pauses:?}");
        for pair in pauses.windows(2) {
            assert!(pair[1].abs_diff(2 * pair[0]) <= 3, "{pauses:?}"); // timers tick in milliseconds
        }
        assert_eq!(client.stats().repeated, pauses.len() as u64);
        firsts.push(pauses[0]);
    }
    firsts.dedup();
    assert!(firsts.len() > 5, "jitter: {firsts:?}");
}

#[tokio::test(start_paused = true)]
async fn c4_the_bounds_are_the_users_to_set() {
    let (client, mut peer) = pair(64);
    let times = AskTimes {
        first: Duration::from_millis(10),
        min: Duration::from_millis(20),
        max: Duration::from_millis(50),
        deadline: secs(1),
    };
    let pauses = pauses(&client, &mut peer, times).await;
    assert!((20..=31).contains(&pauses[0]), "{pauses:?}");
    assert!(
        pauses[2..].iter().all(|pause| (50..=51).contains(pause)),
        "{pauses:?}"
    );
}

/// Bounds that show the estimate as it is.
fn wide() -> AskTimes {
    AskTimes {
        min: Duration::from_millis(1),
        ..AskTimes::default()
    }
}

/// Asks, and answers what is heard after `silent` sendings, `delay` after it was sent.
async fn answered_after(client: &Asking, peer: &mut Peer, silent: usize, delay: Duration) {
    let asking = Arc::clone(client);
    let asked = tokio::spawn(async move { ask_with(&asking, 1, &wide()).await });
    for _ in 0..silent {
        peer.hear().await;
    }
    let (_, question) = peer.hear().await;
    tokio::time::sleep(delay).await;
    peer.tell(question);
    assert_eq!(asked.await.unwrap().unwrap(), 1);
    peer.heard();
}

#[tokio::test(start_paused = true)]
async fn c4_the_timeout_follows_the_round_trips_that_were_measured() {
    let (client, mut peer) = pair(64);
    answered_after(&client, &mut peer, 0, Duration::from_millis(100)).await;
    let pauses = pauses(&client, &mut peer, wide()).await;
    // SRTT 100, RTTVAR 50: 300 milliseconds, and up to half of that.
    assert!((300..=453).contains(&pauses[0]), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn c4_the_round_trip_of_a_question_that_was_repeated_is_not_measured() {
    let (client, mut peer) = pair(64);
    answered_after(&client, &mut peer, 1, Duration::from_millis(1)).await;
    let after = pauses(&client, &mut peer, wide()).await;
    // That with which it was answered: a second or one and a half, twice, and jitter.
    assert!((2000..=4503).contains(&after[0]), "{after:?}");

    answered_after(&client, &mut peer, 0, Duration::from_millis(100)).await;
    let after = pauses(&client, &mut peer, wide()).await;
    assert!(
        (300..=453).contains(&after[0]),
        "measured at last: {after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn c4_an_answer_that_has_arrived_when_the_timer_ends_saves_the_repetition() {
    let (client, mut peer) = pair(64);
    let mut asking = pin!(ask(&client, 1));
    assert!(poll(&mut asking).is_pending());
    let (_, question) = peer.hear().await;
    peer.tell(question);
    tokio::time::advance(secs(20)).await;
    assert_eq!(asking.await.unwrap(), 1);
    assert!(peer.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn c4_no_number_of_the_user_makes_a_client_send_without_a_pause() {
    let (client, mut peer) = pair(64);
    let zero = Duration::ZERO;
    let times = AskTimes {
        first: zero,
        min: zero,
        max: zero,
        deadline: Duration::from_millis(100),
    };
    let number = pauses(&client, &mut peer, times).await.len();
    assert!((10..=100).contains(&number), "{number}");
}
