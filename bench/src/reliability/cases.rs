//! The attacks, and what has to hold in each.

use std::time::Duration;

use super::attack::{Attack, NETWORKS, Rate};
use super::client::Manner;
use super::server::Target;
use super::trial::{Outcome, Trial};

/// An attack.
pub(super) struct Case {
    /// Its letter in the page.
    pub(super) letter: &'static str,
    pub(super) name: &'static str,
    pub(super) trial: Trial,
    pub(super) promise: Promise,
}

/// What is promised to good clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Their conversations finish
    Service,
    /// Beyond what the worker can receive: they finish as with the bare loop
    AsTheBareLoop,
    /// Nothing, but that the server stays whole. The kernel counts a message that it would have cut
    /// into datagrams as one, where it drops it
    Nothing,
}

/// The share of the good clients' conversations that must finish.
pub(super) const SHARE: f64 = 0.95;

/// Its ratio to that with the bare loop, which keeps nothing of a client: where the newcomers of a
/// second are three times the bound on clients, a good client that waits to ask again is evicted
/// meanwhile.
const OF_BARE_LOOP: f64 = 0.6;

/// What a server with default limits may take of memory, in bytes: 65,536 waiting conversations of
/// 400 bytes, an outbox, and what a process takes without them.
pub(super) const MEMORY: u64 = 64 << 20;

/// Beside what it had in the first half of an attack, what it may grow by in the second: the kernel
/// counts in pages, and the allocator takes more than one.
const GROWTH: u64 = 2 << 20;

/// Lines of the log in a second.
const LINES: u64 = 20;

/// Until when all good clients must be served again after an attack.
const RECOVERED: Duration = Duration::from_secs(1);

/// The default of `Limits::clients`.
const CLIENTS: usize = 65_536;

/// A quarter of it, so that each waiting conversation is looked at every 16 seconds when 1,000
/// first packets come in one.
const FEW: usize = CLIENTS / 4;

/// What the rate limit allows each network in a second: more than ten good clients need, who are in
/// networks of their own.
const ALLOWED: u32 = 500;

/// All cases but the million waiting conversations, each for 30 seconds: in less time, pauses and
/// what is sent before become less too.
pub(super) fn all(target: &Target, time: Duration) -> Vec<Case> {
    let share = (time.as_secs_f64() / 30.0).min(1.0);
    let case = |letter, name, attack, rate| Case {
        letter,
        name,
        trial: Trial {
            attack,
            rate,
            target: target.clone(),
            manner: Manner::QUICK,
            before: 0,
            time,
        },
        promise: if rate == Rate::Full {
            Promise::AsTheBareLoop
        } else {
            Promise::Service
        },
    };
    // As many conversations wait as may, before it is measured.
    let filled = |clients: usize, mut case: Case| {
        case.trial.before = (clients as f64 * 1.1 * share) as u64;
        case
    };
    let with_errors = |mut case: Case| {
        case.trial.target.icmp_errors = true;
        case
    };
    let beyond = Rate::Full;
    let within = Rate::OfCapacity(0.8);
    let slowly = Rate::PerSecond(1_000.0);
    let networks = Rate::PerSecond(10.0 * f64::from(ALLOWED) * f64::from(NETWORKS));
    let errors = Rate::PerSecond(20_000.0);
    let mut slow = filled(
        FEW,
        case(
            "c",
            "first packets, clients think 10 s",
            Attack::FirstPackets,
            slowly,
        ),
    );
    slow.trial.target.clients = Some(FEW);
    slow.trial.manner = Manner::slow(Duration::from_secs(10).mul_f64(share));
    let mut segments = case(
        "f",
        "the same, segments",
        Attack::OneClientInSegments,
        beyond,
    );
    segments.promise = Promise::Nothing;
    let closed = |name| filled(CLIENTS, case("g", name, Attack::ClosedPorts, within));
    let forged = |name| case("g", name, Attack::ForgedErrors, errors);
    let mut few = case(
        "a",
        "few networks, rate limit",
        Attack::FewNetworks,
        networks,
    );
    few.trial.target.rate = Some(ALLOWED);
    vec![
        case("-", "nothing", Attack::FirstPackets, Rate::PerSecond(0.0)),
        few,
        filled(
            CLIENTS,
            case("b", "first packets, within", Attack::FirstPackets, within),
        ),
        slow,
        filled(
            CLIENTS,
            case("d", "first packets, beyond", Attack::FirstPackets, beyond),
        ),
        case("e", "garbage, within", Attack::Garbage, within),
        case("f", "one client, beyond", Attack::OneClient, beyond),
        segments,
        closed("closed ports, within"),
        with_errors(closed("the same, `icmp_errors`")),
        forged("forged ICMP errors"),
        with_errors(forged("the same, `icmp_errors`")),
    ]
}

/// What did not hold, of one outcome and its comparison with the bare loop.
pub(super) fn broken(promise: Promise, outcome: &Outcome, of_bare: Option<OfBare>) -> Vec<String> {
    let Outcome {
        tally,
        memory,
        told,
        sent,
        ..
    } = outcome;
    let mut broken = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    match promise {
        Promise::AsTheBareLoop => check(
            of_bare.is_some_and(|of_bare| of_bare.finished >= OF_BARE_LOOP),
            format!("of the bare loop: {of_bare:?}"),
        ),
        Promise::Service => check(
            outcome.finished() >= SHARE,
            format!(
                "{} given up, {} killed of {}",
                tally.given_up, tally.killed, tally.begun
            ),
        ),
        Promise::Nothing => {}
    }
    check(
        memory.second <= memory.first + GROWTH,
        format!("memory grows from {} to {}", memory.first, memory.second),
    );
    check(
        memory.second.max(memory.first) <= MEMORY,
        format!("{} bytes of memory", memory.second.max(memory.first)),
    );
    check(
        told.received + told.kernel_drops == *sent || promise == Promise::Nothing,
        format!(
            "{sent} sent, {} received and {} dropped by the kernel",
            told.received, told.kernel_drops
        ),
    );
    check(
        told.received == told.accounted,
        format!("{} received, {} accounted", told.received, told.accounted),
    );
    check(
        outcome.lines < LINES,
        format!("{} lines in a second", outcome.lines),
    );
    check(
        outcome.recovered.is_some_and(|after| after <= RECOVERED),
        format!("recovered after {:?}", outcome.recovered),
    );
    broken
}

/// What good clients get, beside what they get from the bare loop.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfBare {
    /// The share of their conversations that finish.
    pub(super) finished: f64,
    /// Their exchanges in a second: clients that wait ever longer have far fewer of them where a few
    /// more datagrams are lost.
    pub(super) exchanges: f64,
}

impl OfBare {
    pub(super) fn new(outcome: &Outcome, bare: &[Outcome; 2]) -> Self {
        let mean = |of: fn(&Outcome) -> f64| (of(&bare[0]) + of(&bare[1])) / 2.0;
        Self {
            finished: outcome.finished() / mean(Outcome::finished),
            exchanges: outcome.exchange_rate / mean(|bare| bare.exchange_rate),
        }
    }
}

impl Outcome {
    /// The share of the good clients' conversations that came to their end.
    pub(super) fn finished(&self) -> f64 {
        self.tally.finished as f64 / self.tally.begun.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::clients::Tally;
    use super::super::server::Told;
    use super::super::trial::Memory;
    use super::*;

    /// An outcome that breaks nothing.
    fn good() -> Outcome {
        let all = 64 << 20;
        Outcome {
            attack_rate: 1.0,
            received_rate: 1.0,
            dropped: 0.0,
            tally: Tally {
                begun: 100,
                finished: 95,
                ..Tally::default()
            },
            exchange_rate: 1.0,
            memory: Memory {
                before: 1,
                first: all - GROWTH,
                second: all,
            },
            lines: 19,
            recovered: Some(Duration::from_secs(1)),
            sent: 10,
            told: Told {
                received: 7,
                accounted: 7,
                kernel_drops: 3,
                ..Told::default()
            },
        }
    }

    #[test]
    fn every_bound_is_looked_at() {
        let (service, bare) = (Promise::Service, Promise::AsTheBareLoop);
        assert_eq!(broken(service, &good(), None), [""; 0]);
        let of_bare = |finished| OfBare {
            finished,
            exchanges: 0.5,
        };
        assert_eq!(broken(bare, &good(), Some(of_bare(0.6))), [""; 0]);
        assert_eq!(broken(bare, &good(), Some(of_bare(0.59))).len(), 1);
        assert_eq!(broken(bare, &good(), None).len(), 1);
        let with_promise = |promise, change: fn(&mut Outcome)| {
            let mut outcome = good();
            change(&mut outcome);
            broken(promise, &outcome, None).len()
        };
        let with = |change| with_promise(service, change);
        let nothing = |change| with_promise(Promise::Nothing, change);
        assert_eq!(with(|one| one.tally.finished = 94), 1);
        assert_eq!(with(|one| one.memory.first -= 1), 1);
        assert_eq!(with(|one| one.memory.second += 1), 2); // it grows, and is too large
        assert_eq!(with(|one| one.sent = 11), 1);
        assert_eq!(with(|one| one.told.accounted = 6), 1);
        assert_eq!(nothing(|one| one.told.accounted = 6), 1);
        assert_eq!(nothing(|one| (one.sent, one.tally.finished) = (11, 0)), 0);
        assert_eq!(with(|one| one.lines = 20), 1);
        assert_eq!(with(|one| one.recovered = None), 1);
        assert_eq!(
            with(|one| one.recovered = Some(Duration::from_millis(1_001))),
            1
        );
    }
}
