//! A network that loses, doubles, delays and reorders, by a seed.

use super::*;

/// A generator of pseudorandom numbers (xorshift64*), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

/// Answers as a network does that loses two of five on each way.
async fn serve(mut peer: Peer, mut dice: Dice) {
    loop {
        let (_, question) = peer.hear().await;
        if dice.below(10) < 4 {
            continue;
        }
        for _ in 0..=dice.below(2) {
            if dice.below(10) < 4 {
                continue;
            }
            let (wire, delay) = (Arc::clone(&peer.wire), dice.below(3000));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                wire.put(Ok(question));
            });
        }
        if dice.below(4) == 0 {
            peer.push(0);
        }
    }
}

async fn run(seed: u64, bits: u32) -> super::super::AskStats {
    let (client, peer) = pair(bits);
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let serving = tokio::spawn(serve(peer, Dice(seed + 77)));
    let mut questions = Vec::new();
    for says in 1..=60 {
        let client = Arc::clone(&client);
        let pause = Duration::from_millis(dice.below(20_000));
        let deadline = Duration::from_millis(500 + dice.below(20_000));
        questions.push(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            let times = AskTimes {
                deadline,
                ..AskTimes::default()
            };
            match ask_with(&client, says, &times).await {
                Ok(answer) => assert_eq!(answer, says, "seed {seed}"),
                Err(AskError::TimedOut) => assert_eq!(begun.elapsed(), deadline, "seed {seed}"),
                Err(error) => panic!("seed {seed}: {error:?}"),
            }
        }));
    }
    for question in questions {
        question.await.unwrap();
    }
    serving.abort();
    client.stats()
}

#[tokio::test(start_paused = true)]
async fn c2_c3_with_loss_doubles_and_reordering_each_is_answered_by_its_own_or_ends_by_its_deadline()
 {
    let [mut answered, mut repeated, mut late, mut twice] = [0; 4];
    for seed in 1..=100 {
        let stats = run(seed, if seed % 2 == 0 { 64 } else { 16 }).await;
        assert_eq!((stats.sent, stats.open), (60, 0), "seed {seed}");
        let ended = stats.answered + stats.timed_out;
        assert_eq!(ended, 60, "seed {seed}: {stats:?}");
        answered += stats.answered;
        repeated += stats.repeated;
        late += stats.late;
        twice += stats.duplicates;
    }
    // Far from what such a network gives, so no jitter leads there.
    let all = (answered, repeated, late, twice);
    assert!(answered > 2000 && answered < 5500, "{all:?}");
    assert!(repeated > 500 && late > 10 && twice > 100, "{all:?}");
}
