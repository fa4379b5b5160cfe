//! The handler: it does what its requests say, and some clients' without asking.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use postbox_server::{BoxError, Client, Handler, RecvError, Requests};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) id: u32,
    pub(crate) then: Then,
    #[serde(default)]
    pub(crate) from: Option<SocketAddr>,
    #[serde(flatten)]
    pub(crate) more: BTreeMap<String, Option<f32>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Then {
    Answer,
    Silent,
    Fail,
    Panic,
    /// Panics when what it holds is dropped.
    Drop,
    /// Receives again, for so many milliseconds.
    Talk(u16),
    /// The same, while another task answers.
    Elsewhere(u16),
    /// Answers later, when the handler has ended.
    Push(u16),
    /// Answers with so many bytes.
    Long(u32),
    /// Answers so many times.
    Often(u8),
    TrySend(u8),
    Flush,
    /// Is busy for so many milliseconds, and receives nothing.
    Wait(u16),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) id: u32,
    pub(crate) text: String,
}

/// The message of the panics that are asked for.
pub(crate) const TOLD: &str = "told to panic";

/// What each client is to the handler, by the last number of its address.
pub(crate) const RETURNS: u8 = 8;
pub(crate) const FAILS: u8 = 7;
pub(crate) const PANICS: u8 = 6;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(TOLD);
    }
}

pub(crate) struct Target;

impl Handler for Target {
    type Request = Ask;
    type Response = Answer;

    async fn handle(
        &self,
        client: Client<Answer>,
        mut requests: Requests<Ask>,
    ) -> Result<(), BoxError> {
        if let IpAddr::V4(ip) = client.remote_addr().ip() {
            match ip.octets()[3] {
                RETURNS => return Ok(()),
                FAILS => return Err("told to fail".into()),
                PANICS => std::panic::panic_any(TOLD),
                _ => {}
            }
        }
        let mut next = requests.recv().await;
        loop {
            let ask = match next {
                Ok(ask) => ask,
                Err(RecvError::TimedOut) => return Ok(()),
                Err(error @ (RecvError::Parse(_) | RecvError::Truncated { .. })) => {
                    let text = told(&error);
                    return Ok(client.send(Answer { id: 0, text }).await?);
                }
                Err(error) => return Err(error.into()),
            };
            match converse(&client, &mut requests, ask).await? {
                Some(received) => next = received,
                None => return Ok(()),
            }
        }
    }
}

/// Answers one request, or not.
pub(crate) async fn answer(ask: Ask) -> Result<Option<Answer>, BoxError> {
    match ask.then {
        Then::Silent => return Ok(None),
        Then::Fail => return Err("told to fail".into()),
        Then::Panic => std::panic::panic_any(TOLD),
        Then::Drop => drop(Bomb),
        Then::Wait(wait) | Then::Push(wait) => {
            tokio::time::sleep(Duration::from_millis(wait.into())).await;
        }
        _ => {}
    }
    let text = format!("{:?}", ask.then);
    Ok(Some(Answer { id: ask.id, text }))
}

/// An error and all of its causes.
fn told(error: &RecvError) -> String {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    let mut text = String::new();
    while let Some(error) = next {
        text.extend([error.to_string(), format!("{error:?}")]);
        next = error.source();
    }
    text
}

/// Does what is asked. Returns what it has received then, if it was to.
async fn converse(
    client: &Client<Answer>,
    requests: &mut Requests<Ask>,
    ask: Ask,
) -> Result<Option<Result<Ask, RecvError>>, BoxError> {
    let id = ask.id;
    let answer = move |text: String| Answer { id, text };
    let shown = || answer(format!("{:?}", ask.then));
    let millis = |millis: u16| Duration::from_millis(millis.into());
    match ask.then {
        Then::Answer => client.send(shown()).await?,
        Then::Silent => {}
        Then::Fail => return Err("told to fail".into()),
        Then::Panic => std::panic::panic_any(TOLD),
        Then::Drop => {
            let bomb = Bomb;
            client.send(shown()).await?;
            drop(bomb);
        }
        Then::Talk(wait) => {
            client.send(shown()).await?;
            return Ok(Some(requests.recv_timeout(millis(wait)).await));
        }
        Then::Elsewhere(wait) => {
            let sender = client.clone();
            let sending = tokio::spawn(async move { sender.send(answer(String::new())).await });
            let received = requests.recv_timeout(millis(wait)).await;
            sending.await??;
            return Ok(Some(received));
        }
        Then::Push(wait) => {
            let client = client.clone();
            let pushed = shown();
            tokio::spawn(async move {
                tokio::time::sleep(millis(wait)).await;
                let _ = client.send(pushed).await; // closed at the end
            });
        }
        Then::Long(len) => {
            let text = "é".repeat(usize::try_from(len % 100_000)? / 2);
            if let Err(error) = client.send(answer(text)).await {
                client.send(answer(error.to_string())).await?;
            }
        }
        Then::Often(times) => {
            for _ in 0..times {
                client.send(answer("again ".repeat(40))).await?;
            }
        }
        Then::TrySend(times) => {
            for _ in 0..times {
                let _ = client.try_send(answer("at once ".repeat(100))); // full
            }
        }
        Then::Flush => {
            client.send(shown()).await?;
            client.flush().await?;
        }
        Then::Wait(wait) => {
            client.send(shown()).await?;
            tokio::time::sleep(millis(wait)).await;
        }
    }
    Ok(None)
}
