//! Tests of what leaves, in which order, and who is told.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::config::SessionTag;
use crate::engine::flush::Flushing;

fn client(port: u16) -> ClientKey {
    ClientKey {
        remote: ([192, 0, 2, 1], port).into(),
        local: None,
        session: SessionTag::ADDRESS,
    }
}

fn outbox(datagrams: &[(u16, &str)]) -> Outbox {
    let mut outbox = Outbox::default();
    for (port, text) in datagrams {
        outbox.push(&client(*port), text.as_bytes());
    }
    outbox
}

/// What waits to leave, in order.
fn waiting(outbox: &Outbox) -> Vec<(u16, String)> {
    let (bytes, datagrams) = outbox.waiting();
    let text = |out: &Outgoing| bytes[out.start..][..out.len].to_vec();
    let text = |out| String::from_utf8(text(out)).unwrap();
    datagrams
        .iter()
        .map(|out| (out.remote.port(), text(out)))
        .collect()
}

fn owned(datagrams: &[(u16, &str)]) -> Vec<(u16, String)> {
    let owned = |(port, text): &(u16, &str)| (*port, String::from(*text));
    datagrams.iter().map(owned).collect()
}

fn poll(flush: &Flush) -> Option<Result<(), FlushError>> {
    match flush.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

#[test]
fn h9_what_was_pushed_first_leaves_first() {
    let mut outbox = outbox(&[(1, "one"), (2, ""), (1, "three")]);
    assert_eq!(
        waiting(&outbox),
        owned(&[(1, "one"), (2, ""), (1, "three")])
    );
    outbox.advance(1);
    assert_eq!(waiting(&outbox), owned(&[(2, ""), (1, "three")]));
    outbox.push(&client(3), b"four");
    outbox.advance(1);
    assert_eq!(waiting(&outbox), owned(&[(1, "three"), (3, "four")]));
    assert!(!outbox.is_empty());
    outbox.advance(2);
    assert!(outbox.is_empty());
}

#[test]
fn h9_what_other_threads_sent_leaves_behind_what_is_there() {
    let mut mine = outbox(&[(1, "gone"), (1, "mine")]);
    mine.advance(1);
    let mut theirs = outbox(&[(2, "theirs"), (3, "too")]);
    mine.append(&mut theirs);
    assert!(theirs.is_empty() && !theirs.has_work());
    mine.push(&client(4), b"last");
    let expected = [(1, "mine"), (2, "theirs"), (3, "too"), (4, "last")];
    assert_eq!(waiting(&mine), owned(&expected));
    theirs.push(&client(5), b"again");
    mine.append(&mut theirs);
    assert_eq!(waiting(&mine).last(), owned(&[(5, "again")]).last());
}

#[test]
fn h13_an_answer_keeps_the_address_that_it_leaves_from() {
    let local = crate::transport::LocalAddr {
        asked: [127, 0, 0, 2].into(),
        reply_from: None,
        interface: 3,
    };
    let mut outbox = Outbox::default();
    outbox.push(
        &ClientKey {
            local: Some(local),
            ..client(1)
        },
        b"x",
    );
    assert_eq!(outbox.waiting().1[0].local, Some(local));
}

#[test]
fn l1_what_leaves_gives_back_what_it_took() {
    let mut outbox = outbox(&[(1, "12345"), (1, ""), (1, "123")]);
    assert_eq!(outbox.advance(2), 5 + 2 * OUTGOING_OVERHEAD);
    assert_eq!(outbox.advance(0), 0);
    assert_eq!(outbox.advance(1), 3 + OUTGOING_OVERHEAD);
}

#[test]
fn v7_a_flush_waits_for_what_was_sent_before_and_nothing_else() {
    let mut outbox = outbox(&[(1, "a"), (1, "b")]);
    let flush = Arc::new(Flush::default());
    outbox.push_mark(client(1), Arc::clone(&flush));
    outbox.push(&client(1), b"later");
    assert!(outbox.completed().is_none());
    outbox.advance(1);
    assert!(outbox.completed().is_none());
    outbox.advance(1);
    let (of, completed) = outbox.completed().unwrap();
    assert_eq!(of, client(1));
    assert!(Arc::ptr_eq(&completed, &flush));
    assert!(outbox.completed().is_none(), "once");
    // With nothing before it, it is complete at once, and still work to be done.
    outbox.advance(1);
    assert!(!outbox.has_work());
    outbox.push_mark(client(1), flush);
    assert!(outbox.is_empty() && outbox.has_work());
    assert!(outbox.completed().is_some());
    assert!(!outbox.has_work());
}

#[test]
fn v7_a_flush_of_another_thread_waits_for_what_it_was_put_behind() {
    let mut mine = outbox(&[(1, "mine")]);
    let mut theirs = outbox(&[(2, "theirs")]);
    theirs.push_mark(client(2), Arc::default());
    mine.append(&mut theirs);
    mine.advance(1);
    assert!(mine.completed().is_none());
    mine.advance(1);
    assert_eq!(mine.completed().unwrap().0, client(2));
    mine.append(&mut theirs);
    assert!(!mine.has_work(), "moved, not copied");
}

#[test]
fn v7_a_flush_that_cannot_complete_any_more_answers_closed() {
    let flush = Arc::new(Flush::default());
    let mut outbox = outbox(&[(1, "never leaves")]);
    outbox.push_mark(client(1), Arc::clone(&flush));
    assert!(poll(&flush).is_none());
    drop(outbox);
    assert!(matches!(poll(&flush), Some(Err(FlushError::Closed))));
}

#[test]
fn l1_an_outbox_that_is_never_empty_does_not_grow() {
    let mut outbox = Outbox::default();
    let text = |n: usize| format!("{n:04}");
    (0..100).for_each(|n| outbox.push(&client(1), text(n).as_bytes()));
    for n in 100..10_000 {
        outbox.push(&client(1), text(n).as_bytes());
        if n % 7 == 0 {
            outbox.push_mark(client(1), Arc::default());
        }
        outbox.advance(1);
        while let Some((of, _)) = outbox.completed() {
            assert_eq!(of, client(1));
        }
        outbox.compact();
        let left = waiting(&outbox);
        assert_eq!((left.len(), left[0].1.clone()), (100, text(n - 99)));
        assert!(outbox.datagrams.len() <= 2 * 1024 && outbox.bytes.len() <= 2 * 4096);
        assert!(outbox.marks.len() <= 100 / 7 + 1);
    }
    // Few that are gone are not worth moving the others.
    assert!(outbox.gone > 0);
}

#[test]
fn l1_an_outbox_of_large_answers_that_is_never_empty_does_not_grow_either() {
    let mut outbox = Outbox::default();
    let large = vec![7; 65_507];
    outbox.push(&client(0), &large);
    for n in 1..2000 {
        outbox.push(&client(n), &large);
        outbox.advance(1);
        outbox.compact();
        let (bytes, datagrams) = outbox.waiting();
        assert_eq!(datagrams.len(), 1);
        assert_eq!(datagrams[0].remote.port(), n);
        assert_eq!(bytes[datagrams[0].start..], large);
        assert!(outbox.bytes.len() <= KEPT_BYTES + 2 * large.len());
    }
}

#[test]
fn l1_after_a_burst_an_outbox_and_the_one_it_came_through_keep_little_memory() {
    let keeps_little = |outbox: &Outbox| {
        assert!(outbox.bytes.capacity() <= KEPT_BYTES);
        assert!(outbox.datagrams.capacity() <= KEPT_DATAGRAMS);
        assert!(outbox.marks.capacity() <= KEPT_DATAGRAMS);
    };
    let (mut outbox, mut theirs) = (Outbox::default(), Outbox::default());
    for _ in 0..4 * KEPT_DATAGRAMS {
        theirs.push(&client(1), &[7; 100]);
        theirs.push_mark(client(1), Arc::default());
    }
    outbox.append(&mut theirs);
    outbox.advance(4 * KEPT_DATAGRAMS);
    while outbox.completed().is_some() {}
    outbox.compact();
    for outbox in [&mut outbox, &mut theirs] {
        assert!(outbox.is_large());
        outbox.shrink();
        assert!(!outbox.is_large());
        keeps_little(outbox);
    }
}

#[test]
fn l1_an_outbox_knows_that_the_one_its_sends_came_through_is_large() {
    let (mut outbox, mut theirs) = (Outbox::default(), Outbox::default());
    outbox.append(&mut theirs);
    assert!(!outbox.is_large());
    theirs.bytes.reserve(2 * KEPT_BYTES);
    outbox.append(&mut theirs);
    assert!(outbox.is_large());
    theirs.shrink();
    outbox.shrink();
    outbox.append(&mut theirs);
    assert!(!outbox.is_large());
}

#[test]
fn l1_an_outbox_that_shrinks_loses_nothing() {
    let large = vec![7; KEPT_BYTES];
    let mut outbox = outbox(&[]);
    outbox.shrink();
    assert!(!outbox.is_large());
    (1..=3).for_each(|n| outbox.push(&client(n), &large));
    assert!(outbox.is_large());
    outbox.shrink();
    let (bytes, datagrams) = outbox.waiting();
    assert_eq!(datagrams.len(), 3);
    assert_eq!(bytes[datagrams[2].start..], large);
    assert!(outbox.is_large(), "what waits needs it");
}

#[test]
fn v7_a_flush_that_is_dropped_leaves_no_waker_behind() {
    struct Foreign;
    impl std::task::Wake for Foreign {
        fn wake(self: Arc<Self>) {}
    }
    let foreign = Arc::new(Foreign);
    let mut outbox = outbox(&[(1, "stays")]);
    let flushing = Flushing(Arc::default());
    outbox.push_mark(client(1), Arc::clone(&flushing.0));
    let waker = Waker::from(Arc::clone(&foreign));
    assert!(
        flushing
            .0
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    assert_eq!(Arc::strong_count(&foreign), 2);
    drop(flushing);
    assert_eq!((Arc::strong_count(&foreign), outbox.marks.len()), (1, 1));
}

#[test]
fn l1_flushes_that_were_dropped_do_not_heap_up_while_nothing_leaves() {
    let (mut sent, mut theirs) = (outbox(&[(1, "stays")]), Outbox::default());
    let kept: [Arc<Flush>; 3] = Default::default();
    for n in 0..10_000 {
        if n % 4_000 == 0 {
            sent.push_mark(client(1), Arc::clone(&kept[n / 4_000]));
        }
        sent.push_mark(client(1), Arc::default());
        theirs.push_mark(client(1), Arc::default());
        if n % 7 == 0 {
            sent.append(&mut theirs);
        }
        assert!(sent.marks.len() <= 64 && theirs.marks.len() <= 7);
    }
    sent.advance(1);
    let completed = std::iter::from_fn(|| sent.completed());
    let completed: Vec<_> = completed
        .filter(|(_, flush)| Arc::strong_count(flush) > 1)
        .collect();
    assert_eq!(completed.len(), kept.len());
    for ((_, flush), kept) in completed.iter().zip(&kept) {
        assert!(Arc::ptr_eq(flush, kept), "in order");
    }
}

#[test]
fn l1_an_empty_outbox_keeps_little_memory() {
    let mut outbox = outbox(&[(1, &"x".repeat(2 * KEPT_BYTES))]);
    outbox.advance(1);
    outbox.compact();
    outbox.shrink();
    assert!(!outbox.has_work() && outbox.bytes.capacity() <= KEPT_BYTES);
    outbox.push(&client(1), b"y");
    assert_eq!(waiting(&outbox), owned(&[(1, "y")]));
}
