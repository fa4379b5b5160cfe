//! Which answer is whose, and what is nobody's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::super::AskStats;
use super::super::hub::{Hub, Turn};
use super::*;

#[tokio::test(start_paused = true)]
async fn c2_twenty_questions_at_once_among_pushes_all_have_their_own_answers() {
    let (client, mut peer) = pair(64);
    let questions: Vec<_> = (1..=20).map(|says| asked(&client, says)).collect();
    let mut open = Vec::new();
    while open.len() < 20 {
        open.push(peer.hear().await.1);
    }
    // The last is answered first, one each two seconds, and each half a second comes a push. Some
    // questions are repeated meanwhile, and answered again.
    for half in 0..80 {
        if half % 4 == 0
            && let Some(question) = open.pop()
        {
            peer.tell(question);
        }
        peer.push(1000 + half);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if half == 20 {
            peer.heard().into_iter().for_each(|again| peer.tell(again));
        }
    }
    for (says, question) in (1..=20).zip(questions) {
        assert_eq!(question.await.unwrap().unwrap(), says);
    }
    for push in 1000..1080 {
        assert_eq!(client.recv().await.unwrap().says, push);
    }
}

#[tokio::test(start_paused = true)]
async fn c2_answers_out_of_order_twice_and_for_others_are_told_apart() {
    let (client, mut peer) = pair(64);
    let [one, two] = [1, 2].map(|says| asked(&client, says));
    let [first, second] = [peer.hear().await.1, peer.hear().await.1];
    peer.tell(second);
    peer.tell(second);
    let nobodys = first.number ^ second.number;
    peer.tell(Packet {
        number: nobodys,
        says: 3,
    });
    peer.tell(first);
    let answers = [one.await.unwrap().unwrap(), two.await.unwrap().unwrap()];
    assert_eq!(answers, [1, 2]);
    peer.tell(first); // when all is over
    let unasked = client.recv().await.unwrap();
    assert_eq!(unasked.says, 3, "only what matches no question");
    assert!(client.try_recv().is_none());
    assert_counted(
        &client,
        AskStats {
            sent: 2,
            answered: 2,
            duplicates: 2,
            ..AskStats::default()
        },
    );
}

#[tokio::test(start_paused = true)]
async fn c2_a_late_answer_is_not_that_of_the_question_asked_again() {
    let (client, mut peer) = pair(64);
    let times = AskTimes {
        deadline: secs(1),
        ..AskTimes::default()
    };
    let late = ask_with(&client, 1, &times).await;
    assert!(matches!(late, Err(AskError::TimedOut)), "{late:?}");
    let again = asked(&client, 2);
    let [first, second] = [peer.hear().await.1, peer.hear().await.1];
    peer.tell(first);
    peer.tell(second);
    assert_eq!(again.await.unwrap().unwrap(), 2);
    assert_eq!(
        client.recv().await.unwrap(),
        first,
        "nobody asks this any more"
    );
    assert_counted(
        &client,
        AskStats {
            sent: 2,
            answered: 1,
            timed_out: 1,
            late: 1,
            ..AskStats::default()
        },
    );
}

#[tokio::test(start_paused = true)]
async fn c5_what_matches_no_question_goes_to_recv_whoever_receives_it() {
    let (client, mut peer) = pair(64);
    let receiving = Arc::clone(&client);
    let received = tokio::spawn(async move { receiving.recv().await });
    let question = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    peer.push(2);
    assert_eq!(received.await.unwrap().unwrap().says, 2);
    // Now the question waits alone, and receives the pushes.
    peer.push(3);
    peer.tell(heard);
    assert_eq!(question.await.unwrap().unwrap(), 1);
    assert_eq!(client.recv().await.unwrap().says, 3);
    // And now nobody.
    peer.push(4);
    assert_eq!(client.try_recv().unwrap().unwrap().says, 4);
    assert!(client.try_recv().is_none());
}

#[tokio::test(start_paused = true)]
async fn c5_of_several_receives_each_has_one_push_also_where_one_is_dropped() {
    let (client, peer) = pair(64);
    let mut dropped = Box::pin(client.recv());
    assert!(poll(&mut dropped.as_mut()).is_pending());
    let [one, two] = [0, 1].map(|_| {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.recv().await.unwrap().says })
    });
    tokio::task::yield_now().await; // both wait
    peer.push(1);
    peer.push(2);
    drop(dropped); // it may have been the one that was woken
    let mut pushes = [one.await.unwrap(), two.await.unwrap()];
    pushes.sort_unstable();
    assert_eq!(pushes, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn c5_pushes_that_wait_are_bounded_and_the_newest_dropped() {
    let (client, mut peer) = pair(64);
    let question = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    (0..300).for_each(|says| peer.push(says));
    peer.tell(heard);
    assert_eq!(question.await.unwrap().unwrap(), 1);
    assert_eq!(client.stats().dropped, 300 - 256);
    for says in 0..256 {
        assert_eq!(client.recv().await.unwrap().says, says);
    }
    assert!(client.try_recv().is_none());
}

#[tokio::test(start_paused = true)]
async fn c5_what_cannot_be_read_is_an_error_of_recv_and_counted() {
    let (client, mut peer) = pair(64);
    let question = asked(&client, 1);
    let (_, heard) = peer.hear().await;
    let message = String::from("broken");
    peer.wire.put(Err(UdpRecvError::Crashed { message }));
    peer.push(PANICS); // in the matching
    peer.tell(heard);
    assert_eq!(question.await.unwrap().unwrap(), 1);
    for text in ["broken", "asked to panic"] {
        match client.recv().await {
            Err(UdpRecvError::Crashed { message }) => assert_eq!(message, text),
            other => panic!("{other:?}"),
        }
    }
    let stats = client.stats();
    assert_eq!((stats.malformed, stats.answered, stats.open), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn c5_receives_and_questions_wait_together_and_none_is_forgotten() {
    let (client, mut peer) = pair(64);
    let begun = Instant::now();
    for round in 1..200 {
        let receiving = Arc::clone(&client);
        let received = tokio::spawn(async move { receiving.recv().await.unwrap().says });
        let questions = [1, 2, 3].map(|says| asked(&client, says));
        let mut heard = Vec::new();
        while heard.len() < 3 {
            heard.push(peer.hear().await.1);
        }
        heard.rotate_left(round % 3);
        if round % 2 == 0 {
            peer.push(4);
        }
        heard.into_iter().for_each(|question| peer.tell(question));
        for (says, question) in [1, 2, 3].into_iter().zip(questions) {
            assert_eq!(question.await.unwrap().unwrap(), says);
        }
        if round % 2 == 1 {
            peer.push(4);
        }
        assert_eq!(received.await.unwrap(), 4);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited for a timer");
}

/// Counts how often it wakes.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn c5_what_another_thread_receives_or_what_arrives_meanwhile_wakes_who_waits() {
    let hub = Arc::new(Hub::<u64>::new());
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let rung = || bell.0.swap(0, Ordering::Relaxed);
    let receive = hub.begin_receive();
    let waits = || matches!(hub.poll_receive(receive, &waker, true), Turn::Wait);

    assert!(hub.begin_receiving(false)); // another thread
    assert!(!hub.begin_receiving(false), "one at a time");
    assert!(waits());
    hub.deliver(None, 7, std::time::Instant::now());
    assert_eq!(rung(), 1);
    let ready = hub.poll_receive(receive, &waker, true);
    assert!(matches!(ready, Turn::Ready(Ok(7))));

    assert!(waits());
    hub.wake_by_ref(); // more arrives before the other thread has ended
    assert_eq!(rung(), 0, "it looks again itself");
    hub.received(false);
    assert_eq!(rung(), 1, "or has another do it");
    let turn = hub.poll_receive(receive, &waker, true);
    assert!(matches!(turn, Turn::Receive));
    hub.received(true); // it did not come to an end
    assert_eq!(rung(), 1);
}
