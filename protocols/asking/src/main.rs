//! Clients that ask a server of somebody else many questions at once.
//!
//! ```text
//! asking PROTOCOL ADDRESS QUESTIONS
//! ```

use std::env;
use std::time::Duration;

use postbox::{AskError, AskStats, AskTimes, AskingClient, BoxError};
use tokio::task::JoinSet;

mod coap;
mod dns;
mod ntp;
mod radius;

#[cfg(test)]
mod tests;

/// Times for this host, and for a network before it that loses much.
fn times() -> AskTimes {
    let mut times = AskTimes::default();
    times.first = Duration::from_millis(200);
    times.min = Duration::from_millis(100);
    times.max = Duration::from_millis(500);
    times
}

/// What became of some questions.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    own: usize,
    stats: AskStats,
}

impl Tally {
    /// Asks all at once, each in a task of its own. `is_own` says whether an answer is that of its
    /// question, by all that it repeats and not by the number alone.
    async fn ask<Question, Sent, Received>(
        &mut self,
        client: &AskingClient<Sent, Received>,
        questions: impl Iterator<Item = Question>,
        request: fn(&Question) -> Sent,
        is_own: fn(&Question, &Received) -> Result<(), BoxError>,
    ) where
        Question: Send + 'static,
        Sent: Send + 'static,
        Received: Send + 'static,
    {
        let mut open = JoinSet::new();
        for question in questions {
            let client = client.clone();
            self.asked += 1;
            open.spawn(async move {
                let answer = client.ask(request(&question)).await?;
                is_own(&question, &answer)
            });
        }
        while let Some(answer) = open.join_next().await {
            match answer.unwrap_or_else(|error| Err(error.into())) {
                Ok(()) => self.own += 1,
                Err(error) => match error.downcast_ref::<AskError>() {
                    Some(error) => eprintln!("not answered: {error}"),
                    None => eprintln!("answered, but {error}"),
                },
            }
        }
        self.stats = client.stats();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [protocol, address, questions] = &arguments[..] else {
        return Err("usage: asking dns|radius|coap|ntp ADDRESS QUESTIONS".into());
    };
    let questions = questions.parse()?;
    let tally = match protocol.as_str() {
        "dns" => dns::ask(address, questions).await?,
        "radius" => radius::ask(address, questions).await?,
        "coap" => coap::ask(address, questions).await?,
        "ntp" => ntp::ask(address, questions).await?,
        other => return Err(format!("no protocol {other}").into()),
    };
    let Tally { asked, own, stats } = tally;
    println!(
        "asked {asked}, own answers {own}; sent {}, answered {}, repeated {}, timed out {}, \
         late {}, duplicates {}, malformed {}",
        stats.sent,
        stats.answered,
        stats.repeated,
        stats.timed_out,
        stats.late,
        stats.duplicates,
        stats.malformed,
    );
    match own == asked {
        true => Ok(()),
        false => Err(format!("{} of {asked} without their answer", asked - own).into()),
    }
}
