//! Tests of the answers that are kept, without a worker.

use super::*;
use crate::config::{Secret, SessionTag};

fn answers(answers: usize, bytes: usize) -> (Answers, Instant) {
    let limits = AnswerLimits {
        answers,
        bytes,
        time: Duration::from_secs(10),
    };
    (Answers::new(limits), Instant::now())
}

fn question(secret: &Secret, port: u16, number: u8) -> ClientKey {
    ClientKey {
        remote: ([192, 0, 2, 1], port).into(),
        local: None,
        session: SessionTag::question(secret.id(number)),
    }
}

#[test]
fn c6_a_question_is_known_by_its_address_and_its_number() {
    let (mut answers, now) = answers(10, 10_000);
    let secret = Secret::default();
    let asked = question(&secret, 1, 1);
    assert_eq!(answers.get(&asked, now), None);
    answers.answered(&asked, b"one", now);
    assert_eq!(answers.get(&asked, now), Some(Some(&b"one"[..])));
    for other in [question(&secret, 2, 1), question(&secret, 1, 2)] {
        assert_eq!(answers.get(&other, now), None);
    }
}

#[test]
fn c6_the_first_answer_is_kept_also_where_it_comes_after_the_end() {
    let (mut answers, now) = answers(10, 10_000);
    let asked = question(&Secret::default(), 1, 1);
    answers.handled(&asked, now);
    assert_eq!(answers.get(&asked, now), Some(None));
    answers.answered(&asked, b"one", now);
    answers.answered(&asked, b"two", now);
    answers.handled(&asked, now);
    assert_eq!(answers.get(&asked, now), Some(Some(&b"one"[..])));
    let empty = question(&Secret::default(), 1, 2);
    answers.answered(&empty, b"", now);
    assert_eq!(answers.get(&empty, now), Some(Some(&b""[..])));
}

#[test]
fn c6_an_answer_is_kept_for_so_long_and_no_longer() {
    let (mut answers, now) = answers(10, 10_000);
    let asked = question(&Secret::default(), 1, 1);
    answers.handled(&asked, now);
    let early = now + Duration::from_secs(9);
    answers.answered(&asked, b"one", early); // it does not live longer for that
    assert!(answers.get(&asked, early).is_some());
    assert!(answers.get(&asked, now + Duration::from_secs(10)).is_none());
    assert_eq!((answers.bytes, answers.numbers.len()), (0, 0));
}

#[test]
fn c6_so_many_answers_are_kept_and_the_oldest_goes() {
    let (mut answers, now) = answers(2, 10_000);
    let secret = Secret::default();
    let asked = [1, 2, 3].map(|number| question(&secret, 1, number));
    let forgotten = asked.map(|asked| answers.answered(&asked, b"x", now));
    assert_eq!(forgotten, [0, 0, 1]);
    let known = asked.map(|asked| answers.get(&asked, now).is_some());
    assert_eq!(known, [false, true, true]);
}

#[test]
fn c6_so_many_bytes_are_kept_overhead_included() {
    let (mut answers, now) = answers(10, 2 * (ANSWER_OVERHEAD + 10));
    let secret = Secret::default();
    let asked = [1, 2, 3].map(|number| question(&secret, 1, number));
    assert_eq!(answers.answered(&asked[0], &[0; 10], now), 0);
    assert_eq!(answers.answered(&asked[1], &[0; 10], now), 0);
    assert_eq!(answers.handled(&asked[2], now), 1);
    // An answer that comes later takes its room too.
    assert_eq!(answers.answered(&asked[2], &[0; 11], now), 1);
    assert!(answers.get(&asked[1], now).is_none());
    // One that is too large for all of it is not kept.
    let large = vec![0; 2 * ANSWER_OVERHEAD + 20];
    assert_eq!(answers.answered(&asked[0], &large, now), 2);
    assert!(answers.kept.is_empty() && answers.bytes == 0);
}

#[test]
fn c6_after_a_crowd_little_memory_is_kept() {
    let (mut answers, now) = answers(100_000, usize::MAX);
    let secret = Secret::default();
    for port in 1..=50_000 {
        answers.answered(&question(&secret, port, 1), b"x", now);
    }
    let later = now + Duration::from_secs(10);
    assert!(answers.get(&question(&secret, 1, 1), later).is_none());
    assert!(answers.kept.capacity() + answers.numbers.capacity() <= 2 * KEPT_ROOM);
}
