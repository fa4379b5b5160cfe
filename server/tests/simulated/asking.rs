//! Clients that ask on a network that loses, doubles, delays and reorders, and a server that handles
//! each question at most once, or not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use postbox_client::{AskError, AskStats, AskTimes, AskingClient, NumberedMatching, UdpClient};
use postbox_protocol::{DatagramProtocol, Numbered, NumberedSerializer, RawSerializer};
use postbox_server::{Conditions, MemoryNetwork, Server, ServerBuilder, Session};
use tokio::time::{Instant, sleep, timeout};

use super::{Seen, for_each, from_env};

/// As a whole, of each question.
const DEADLINE: Duration = Duration::from_secs(20);

/// Questions of one script.
const QUESTIONS: u32 = 40;

/// What happened to the questions at the server.
#[derive(Default)]
struct Asked {
    /// When each was handed to a handler.
    handled: Mutex<BTreeMap<u32, Vec<Instant>>>,
}

struct Script {
    random: Rng,
    once: bool,
    /// Nothing makes a question come sooner or later than another.
    even: bool,
    asked: Arc<Asked>,
}

type Envelope = Numbered<Bytes>;

fn protocol() -> DatagramProtocol<NumberedSerializer<RawSerializer>> {
    DatagramProtocol::new(NumberedSerializer::new(RawSerializer))
}

/// Every eighth is not answered.
fn is_silent(question: u32) -> bool {
    question % 8 == 7
}

impl Script {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        Self {
            once: random.bool(),
            even: random.bool(),
            asked: Arc::default(),
            random,
        }
    }

    fn builder(&self) -> ServerBuilder {
        let asked = Arc::clone(&self.asked);
        let waits = self.random.clone();
        let builder = Server::builder_fn(protocol(), move |client, mut requests| {
            let (asked, mut waits) = (Arc::clone(&asked), waits.clone());
            async move {
                let request: Envelope = requests.recv().await?;
                let question = u32::from_be_bytes(request.packet[..].try_into()?);
                let times = {
                    let mut handled = asked.handled.lock().unwrap();
                    let times = handled.entry(question).or_default();
                    times.push(Instant::now());
                    times.len()
                };
                waits.seed(u64::from(question) << 8 | times as u64);
                // Some take longer than it takes to ask again.
                sleep(Duration::from_millis(waits.u64(0..2) * waits.u64(0..3000))).await;
                if !is_silent(question) {
                    let answer = format!("{question}, the {times}.");
                    client.send(request.answer(Bytes::from(answer))).await?;
                }
                if question.is_multiple_of(5) {
                    client.send(Bytes::from_static(b"a push").into()).await?;
                }
                Ok(())
            }
        });
        match self.once {
            true => builder.at_most_once(Session::numbered()),
            false => builder.concurrency(1000),
        }
    }

    fn conditions(&mut self) -> Conditions {
        let ms = |random: &mut Rng| Duration::from_millis(random.u64(1..=400));
        let random = &mut self.random;
        let conditions = Conditions::default()
            .loss(random.f64() * 0.4)
            .delay(ms(random));
        match self.even {
            true => conditions,
            false => conditions
                .jitter(ms(random))
                .duplicate(0.2)
                .reorder(0.2, ms(random)),
        }
    }

    async fn run(mut self, seed: u64, seen: &mut Seen) {
        let network = MemoryNetwork::seeded(seed);
        network.set_conditions(self.conditions());
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let server = self.builder().bind_memory(&network, address).unwrap();
        let dies = self.random.u32(..10) == 0;
        let serving = tokio::spawn(server.serve_forever());
        let stats = self.ask_all(&network, address, &server, dies).await;
        server.handle().shutdown().await;
        serving.await.unwrap().unwrap();
        assert_eq!((stats.open, stats.sent), (0, u64::from(QUESTIONS)));
        let ended = stats.answered + stats.timed_out;
        assert_eq!(ended, u64::from(QUESTIONS), "{stats:?}");
        self.check(seen);
        let served = server.handle().stats();
        assert_eq!(served.received, served.accounted(), "{served:#?}");
        seen.add("answered", stats.answered);
        seen.add("timed out", stats.timed_out);
        seen.add("repeated", stats.repeated);
        seen.add("late", stats.late);
        seen.add("a duplicate", stats.duplicates);
        seen.add("answered again", served.answered_again);
        seen.add("a repetition dropped", served.dropped_repeated);
        seen.add("the server dies", u64::from(dies));
    }

    /// Asks from clones in tasks of their own, while another receives what nobody asked for.
    async fn ask_all(
        &mut self,
        network: &MemoryNetwork,
        address: SocketAddr,
        server: &Server,
        dies: bool,
    ) -> AskStats {
        let client = UdpClient::connect_memory(network, address, protocol()).unwrap();
        let mut times = AskTimes::default();
        times.deadline = DEADLINE;
        let client = client.asking(NumberedMatching).with_times(times);
        let pushes = client.clone();
        let receiving = tokio::spawn(async move {
            loop {
                let packet = pushes.recv().await.unwrap();
                // Or an answer whose question is over.
                assert!(packet.number != 0 || packet.packet == "a push");
            }
        });
        let mut asking = Vec::new();
        for question in 0..QUESTIONS {
            asking.push(tokio::spawn(ask(client.clone(), question)));
            sleep(Duration::from_millis(self.random.u64(0..300))).await;
            if dies && question == QUESTIONS / 2 {
                server.handle().shutdown().await;
            }
        }
        for one in asking {
            one.await.unwrap();
        }
        receiving.abort();
        client.stats()
    }

    fn check(&self, seen: &mut Seen) {
        for (question, times) in &*self.asked.handled.lock().unwrap() {
            if self.once {
                assert_eq!(times.len(), 1, "question {question} was handled again");
            }
            seen.add("handled again", times.len() as u64 - 1);
            let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
            // RFC 6298 section 2.4: what is measured makes it a second at least.
            assert!(!self.even || gaps.clone().all(|gap| gap >= Duration::from_secs(1)));
            // Doubled each time, by half more at random: section 5.5.
            let sum: Duration = gaps.sum();
            assert!(sum <= DEADLINE + Duration::from_secs(2));
        }
    }
}

/// It is answered by its own answer, or times out at its deadline.
async fn ask(client: AskingClient<Envelope>, question: u32) {
    let begun = Instant::now();
    let packet = Bytes::copy_from_slice(&question.to_be_bytes());
    match client.ask(packet).await {
        Ok(answer) => {
            let text = String::from_utf8_lossy(&answer.packet).into_owned();
            assert!(text.starts_with(&format!("{question}, the ")), "{text}");
            assert!(!is_silent(question));
            assert!(begun.elapsed() <= DEADLINE + Duration::from_millis(2));
        }
        Err(AskError::TimedOut) => {
            let after = begun.elapsed();
            let due = DEADLINE..=DEADLINE + Duration::from_millis(2);
            assert!(due.contains(&after), "{after:?}");
        }
        Err(error) => panic!("{question}: {error}"),
    }
}

#[test]
fn c2_c3_c4_c6_whatever_the_network_does_a_question_has_its_own_answer_or_ends_by_its_deadline() {
    let (seed, scripts) = (
        from_env("POSTBOX_SEED", 1),
        from_env("POSTBOX_SIMULATIONS", 100),
    );
    let Seen(counts) = for_each(seed..seed + scripts, Seen::default(), |seed, seen| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let run = Script::new(seed).run(seed, seen);
            timeout(Duration::from_secs(3600), run).await.unwrap();
        });
    });
    println!("{scripts} scripts from seed {seed}: {counts:?}");
    if scripts >= 100 {
        for what in [
            "answered",
            "timed out",
            "repeated",
            "late",
            "a duplicate",
            "answered again",
            "a repetition dropped",
            "handled again",
            "the server dies",
        ] {
            assert!(counts.contains_key(what), "never seen: {what}");
        }
    }
}
