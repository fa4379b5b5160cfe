//! How a question ends without its answer.

use super::super::AskStats;
use super::*;

#[tokio::test(start_paused = true)]
async fn c3_a_question_ends_at_its_deadline_whatever_else_arrives() {
    let (client, peer) = pair(64);
    let pushes = Arc::clone(&peer.wire);
    let pushing = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            pushes.put(Ok(Packet { number: 0, says: 9 }));
        }
    });
    let begun = Instant::now();
    let ended = ask(&client, 1).await;
    assert!(matches!(ended, Err(AskError::TimedOut)), "{ended:?}");
    assert_eq!(begun.elapsed(), secs(30), "the default");

    let begun = Instant::now();
    let times = AskTimes {
        deadline: Duration::from_millis(1234),
        ..AskTimes::default()
    };
    let ended = ask_with(&client, 1, &times).await;
    assert!(matches!(ended, Err(AskError::TimedOut)), "{ended:?}");
    assert_eq!(begun.elapsed(), Duration::from_millis(1234));
    pushing.abort();
    let stats = client.stats();
    assert_eq!((stats.sent, stats.timed_out, stats.open), (2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn c3_when_the_server_dies_half_way_each_ends_by_its_deadline() {
    let (client, mut peer) = pair(64);
    let begun = Instant::now();
    let questions: Vec<_> = (0..20).map(|says| asked(&client, says)).collect();
    for _ in 0..10 {
        let (_, question) = peer.hear().await;
        peer.tell(question);
    }
    let mut answered = 0;
    for question in questions {
        match question.await.unwrap() {
            Ok(_) => answered += 1,
            Err(error) => assert!(matches!(error, AskError::TimedOut), "{error:?}"),
        }
    }
    assert_eq!((answered, begun.elapsed()), (10, secs(30)));
    let stats = client.stats();
    assert_eq!((stats.sent, stats.answered, stats.timed_out), (20, 10, 10));
}

#[tokio::test(start_paused = true)]
async fn c3_a_deadline_holds_also_while_a_send_waits() {
    let (client, peer) = pair(64);
    peer.fail_sends([None]);
    let begun = Instant::now();
    let ended = ask(&client, 1).await;
    assert!(matches!(ended, Err(AskError::TimedOut)), "{ended:?}");
    assert_eq!(begun.elapsed(), secs(30));
    assert_counted(&client, AskStats::default()); // it was never sent
}

#[tokio::test(start_paused = true)]
async fn c3_a_refusal_ends_every_open_question_at_once() {
    let (client, mut peer) = pair(64);
    let begun = Instant::now();
    let questions = [1, 2, 3].map(|says| asked(&client, says));
    for _ in 0..3 {
        peer.hear().await;
    }
    peer.refuse();
    for question in questions {
        let ended = question.await.unwrap();
        assert!(matches!(ended, Err(AskError::Refused)), "{ended:?}");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(client.try_recv().is_none(), "told once");
    let expected = AskStats {
        sent: 3,
        refused: 3,
        ..AskStats::default()
    };
    assert_counted(&client, expected);

    let again = asked(&client, 4);
    let (_, question) = peer.hear().await;
    peer.tell(question);
    assert_eq!(again.await.unwrap().unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn c3_a_refusal_of_an_earlier_packet_ends_no_question_and_goes_to_recv() {
    let (client, mut peer) = pair(64);
    peer.refuse();
    let question = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    peer.tell(heard);
    assert_eq!(question.await.unwrap().unwrap(), 1);
    let refused = client.recv().await;
    assert!(matches!(refused, Err(UdpRecvError::Refused)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn c3_dropping_a_question_forgets_it() {
    let (client, mut peer) = pair(64);
    let mut question = Box::pin(ask(&client, 1));
    assert!(poll(&mut question.as_mut()).is_pending());
    let (_, heard) = peer.hear().await;
    assert_eq!(client.stats().open, 1);
    drop(question);
    tokio::time::sleep(secs(100)).await;
    assert!(peer.heard().is_empty(), "and it is not repeated");
    peer.tell(heard);
    assert_eq!(client.recv().await.unwrap(), heard);
    let expected = AskStats {
        sent: 1,
        forgotten: 1,
        late: 1,
        ..AskStats::default()
    };
    assert_counted(&client, expected);
}

#[tokio::test(start_paused = true)]
async fn c3_when_the_one_that_would_receive_is_dropped_another_does() {
    let (client, mut peer) = pair(64);
    let question = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    // Polled last, so it is woken for all; and then not polled.
    let mut dropped = Box::pin(ask(&client, 2));
    assert!(poll(&mut dropped.as_mut()).is_pending());
    peer.tell(heard);
    drop(dropped);
    let begun = Instant::now();
    assert_eq!(question.await.unwrap().unwrap(), 1);
    assert_eq!(begun.elapsed(), Duration::ZERO, "not at its own timer");

    // A receive is woken before a question.
    let question = asked(&client, 3);
    let heard = loop {
        match peer.hear().await.1 {
            heard if heard.says == 3 => break heard,
            _ => {}
        }
    };
    let mut dropped = Box::pin(client.recv());
    assert!(poll(&mut dropped.as_mut()).is_pending());
    peer.tell(heard);
    drop(dropped);
    let begun = Instant::now();
    assert_eq!(question.await.unwrap().unwrap(), 3);
    assert_eq!(begun.elapsed(), Duration::ZERO, "not at its own timer");
}

#[tokio::test(start_paused = true)]
async fn c3_a_question_that_is_kept_but_not_polled_holds_others_up_to_their_timers_only() {
    let (client, mut peer) = pair(64);
    let question = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    let mut kept = pin!(ask(&client, 2));
    assert!(poll(&mut kept).is_pending());
    peer.tell(heard);
    let begun = Instant::now();
    assert_eq!(question.await.unwrap().unwrap(), 1);
    assert!(begun.elapsed() <= Duration::from_millis(1500));
    // One that begins receives at once, also for others.
    assert!(poll(&mut kept).is_pending());
    peer.push(5);
    assert_eq!(client.recv().await.unwrap().says, 5);
    assert_eq!(client.stats().open, 1);
}

#[tokio::test(start_paused = true)]
async fn c3_a_packet_that_cannot_be_sent_ends_its_own_question_alone() {
    let (client, mut peer) = pair(64);
    let other = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    peer.fail_sends([Some(io::ErrorKind::PermissionDenied)]);
    let ended = ask(&client, 2).await;
    assert!(
        matches!(ended, Err(AskError::NotSent(UdpSendError::Io(_)))),
        "{ended:?}"
    );
    let question = Packet { number: 0, says: 3 };
    let ended = client.ask(question, 15, &AskTimes::default()).await;
    let too_large = AskError::NotSent(UdpSendError::TooLarge { len: 16, limit: 15 });
    assert_eq!(ended.unwrap_err().to_string(), too_large.to_string());
    let ended = ask(&client, PANICS).await;
    assert!(matches!(ended, Err(AskError::Crashed { .. })), "{ended:?}");
    peer.tell(heard);
    assert_eq!(other.await.unwrap().unwrap(), 1);
    let expected = AskStats {
        sent: 1,
        answered: 1,
        ..AskStats::default()
    };
    assert_counted(&client, expected);

    // A repetition that cannot be sent.
    let failing = asked(&client, 4);
    peer.hear().await;
    peer.fail_sends([Some(io::ErrorKind::PermissionDenied)]);
    let ended = failing.await.unwrap();
    assert!(matches!(ended, Err(AskError::NotSent(_))), "{ended:?}");
    assert_eq!(client.stats().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn c3_a_socket_that_fails_ends_every_question_and_is_no_endless_loop() {
    let (client, mut peer) = pair(64);
    let question = asked(&client, 1);
    peer.hear().await;
    *peer.wire.broken.lock().unwrap() = true;
    peer.wire.arrived.notify_one();
    let ended = question.await.unwrap();
    assert!(matches!(ended, Err(AskError::Io(_))), "{ended:?}");
    for _ in 0..2 {
        let failed = client.recv().await;
        assert!(matches!(failed, Err(UdpRecvError::Io(_))), "{failed:?}");
    }
    assert_eq!(client.stats().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn c3_what_icmp_says_of_a_route_ends_no_question() {
    let (client, mut peer) = pair(64);
    let question = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    let unreachable = || UdpRecvError::Io(io::ErrorKind::HostUnreachable.into());
    peer.wire.put(Err(unreachable()));
    peer.wire.put(Err(unreachable()));
    peer.tell(heard);
    assert_eq!(question.await.unwrap().unwrap(), 1);
    for _ in 0..2 {
        let told = client.recv().await;
        assert!(matches!(told, Err(UdpRecvError::Io(_))), "{told:?}");
    }

    // As many in a row as no network says.
    let question = asked(&client, 1);
    peer.hear().await;
    (0..3).for_each(|_| peer.wire.put(Err(unreachable())));
    let ended = question.await.unwrap();
    assert!(matches!(ended, Err(AskError::Io(_))), "{ended:?}");
}
