//! The numbers of questions, and what is remembered of them.

use std::collections::HashSet;
use std::time::Instant;

use super::super::questions::{Draw, End, Questions, Verdict};
use super::*;

/// Opens a question with a number of so many bits.
fn open(questions: &mut Questions<()>, bits: u32) -> Option<u64> {
    let mut draw = Draw::default();
    loop {
        let number = questions.draw(&mut draw)? & (u64::MAX >> (64 - bits));
        if questions.open(number, &draw, ()).is_ok() {
            return Some(number);
        }
    }
}

/// Opens a question and sends it.
fn ask(questions: &mut Questions<()>, bits: u32) -> u64 {
    let number = open(questions, bits).unwrap();
    questions.sending(number, Instant::now(), Duration::ZERO);
    questions.sent(number);
    number
}

#[test]
fn c2_a_number_is_never_that_of_another_open_question_and_when_all_are_in_use_that_is_an_error() {
    let mut questions = Questions::new();
    let mut numbers: HashSet<_> = (0..256).map(|_| ask(&mut questions, 8)).collect();
    assert_eq!(numbers.len(), 256, "all that there are");
    assert_eq!(open(&mut questions, 8), None);

    for number in [7, 200] {
        questions.close(number, End::Forgotten);
        numbers.remove(&number);
    }
    let again = [ask(&mut questions, 8), ask(&mut questions, 8)];
    assert_eq!(again, [7, 200], "the oldest first");
    assert_eq!(open(&mut questions, 8), None);
}

#[test]
fn c2_a_number_that_was_used_lately_is_not_used_while_there_are_others() {
    let mut questions = Questions::new();
    let mut used = HashSet::new();
    for _ in 0..256 {
        let number = ask(&mut questions, 8);
        questions.close(number, End::TimedOut);
        assert!(used.insert(number), "{number} is used twice");
    }
    assert!(used.contains(&ask(&mut questions, 8)));
}

#[test]
fn c2_numbers_cannot_be_foreseen() {
    let mut drawn = HashSet::new();
    let (mut ones, mut changed) = (0, 0);
    for _ in 0..100 {
        let mut questions = Questions::new();
        let [first, second] = [0, 1].map(|_| ask(&mut questions, 64));
        ones += first.count_ones();
        changed += (first ^ second).count_ones();
        drawn.extend([first, second]);
    }
    assert_eq!(drawn.len(), 200, "each client has others");
    for bits in [ones, changed] {
        assert!((2900..3500).contains(&bits), "about half of 6,400: {bits}");
    }
}

#[test]
fn c2_nothing_answers_a_question_before_it_was_sent() {
    let mut questions = Questions::new();
    let number = open(&mut questions, 64).unwrap();
    let early = questions.verdict(Some(number), Instant::now());
    assert!(matches!(early, Verdict::Unasked));
    questions.sending(number, Instant::now(), Duration::ZERO);
    let answer = questions.verdict(Some(number), Instant::now());
    assert!(matches!(answer, Verdict::Answer(())));
}

#[test]
fn c5_so_many_questions_that_are_over_are_remembered() {
    let mut questions = Questions::new();
    let numbers: Vec<_> = (0..5000)
        .map(|index| {
            let number = ask(&mut questions, 64);
            if index % 2 == 0 {
                questions.verdict(Some(number), Instant::now());
            }
            questions.close(number, End::TimedOut);
            number
        })
        .collect();
    for number in numbers {
        questions.verdict(Some(number), Instant::now());
    }
    let stats = questions.stats();
    assert_eq!((stats.duplicates, stats.late), (2048, 2048));
    assert_eq!((stats.answered, stats.timed_out), (2500, 2500));
}

#[tokio::test(start_paused = true)]
async fn c2_the_two_hundred_and_fifty_seventh_question_of_eight_bits_is_an_error() {
    let (client, mut peer) = pair(8);
    let questions: Vec<_> = (0..256).map(|says| asked(&client, says)).collect();
    let mut heard = Vec::new();
    while heard.len() < 256 {
        heard.push(peer.hear().await.1);
    }
    let ended = super::ask(&client, 256).await;
    assert!(matches!(ended, Err(AskError::NoNumber)), "{ended:?}");
    heard.retain(|question| question.number != 0); // which is no question here
    heard.into_iter().for_each(|question| peer.tell(question));
    let mut answered = 0;
    for (says, question) in (0..256).zip(questions) {
        match question.await.unwrap() {
            Ok(answer) => assert_eq!(answer, says),
            Err(error) => {
                assert!(matches!(error, AskError::TimedOut), "{error:?}");
                continue;
            }
        }
        answered += 1;
    }
    assert_eq!(answered, 255);
}
