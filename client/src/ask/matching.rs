use std::fmt;

use postbox_protocol::Numbered;

/// How an answer is matched to its question: by a number that both hold.
///
/// [`NumberedMatching`] does it for [`Numbered`] packets, [`matching`] makes one of two closures
/// for protocols that have a number of their own.
///
/// A panic in one of its functions ends nothing but the question, or is the error of a receive.
pub trait Matching<Sent, Received>: Send + Sync + 'static {
    /// Puts a number into a request, and returns the number that it now holds.
    ///
    /// `fresh` is random, so that a stranger who cannot see the question cannot guess its number
    /// (of DNS, RFC 5452 section 9.2 asks for that). Use all of it, or as many of its **low** bits
    /// as the protocol has room for: `fresh as u16`. The function is called again, with another,
    /// while the number that it returns is in use.
    ///
    /// What else an answer repeats of its question can be part of the number that is returned, as a
    /// hash of both: of DNS the id and the question (RFC 5452 section 9.1). That is worth it where
    /// numbers have few bits, since they come round again.
    fn number(&self, request: &mut Sent, fresh: u64) -> u64;

    /// Returns the number of an answer, the same as [`number`](Self::number) returned for its
    /// question. `None` if the packet is no answer.
    fn number_of(&self, answer: &Received) -> Option<u64>;
}

/// Makes a [`Matching`] of two closures: the first puts a fresh number into a request, as many bits
/// as there is room for, and returns it; the second returns the number of an answer, or `None` if
/// it is none.
///
/// ```
/// use postbox_client::{UdpClient, matching};
///
/// struct Query { id: u16, name: String }
/// struct Reply { id: u16, addresses: Vec<u32> }
///
/// async fn look_up(client: UdpClient<Query, Reply>) -> Result<Reply, postbox_client::AskError> {
///     let client = client.asking(matching(
///         |query: &mut Query, fresh| {
///             query.id = fresh as u16;
///             query.id.into()
///         },
///         |reply: &Reply| Some(reply.id.into()),
///     ));
///     client.ask(Query { id: 0, name: "example.org".to_owned() }).await
/// }
/// ```
pub fn matching<Sent, Received, Put, Get>(put: Put, get: Get) -> FnMatching<Put, Get>
where
    Put: Fn(&mut Sent, u64) -> u64 + Send + Sync + 'static,
    Get: Fn(&Received) -> Option<u64> + Send + Sync + 'static,
{
    FnMatching { put, get }
}

/// The matching of [`matching`].
#[derive(Clone, Copy)]
pub struct FnMatching<Put, Get> {
    put: Put,
    get: Get,
}

impl<Put, Get> fmt::Debug for FnMatching<Put, Get> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnMatching").finish_non_exhaustive()
    }
}

impl<Sent, Received, Put, Get> Matching<Sent, Received> for FnMatching<Put, Get>
where
    Put: Fn(&mut Sent, u64) -> u64 + Send + Sync + 'static,
    Get: Fn(&Received) -> Option<u64> + Send + Sync + 'static,
{
    fn number(&self, request: &mut Sent, fresh: u64) -> u64 {
        (self.put)(request, fresh)
    }

    fn number_of(&self, answer: &Received) -> Option<u64> {
        (self.get)(answer)
    }
}

/// The matching of [`Numbered`] packets, as a
/// [`NumberedSerializer`](postbox_protocol::NumberedSerializer) sends them: 64 bits, which do not
/// come round again.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberedMatching;

impl<Sent, Received> Matching<Numbered<Sent>, Numbered<Received>> for NumberedMatching {
    fn number(&self, request: &mut Numbered<Sent>, fresh: u64) -> u64 {
        request.number = fresh.max(1); // 0 is no question
        request.number
    }

    fn number_of(&self, answer: &Numbered<Received>) -> Option<u64> {
        (answer.number != 0).then_some(answer.number)
    }
}
