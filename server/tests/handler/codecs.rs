//! H1: the handler knows its types and nothing of the codec.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::contract;
use postbox_codec_json::JsonSerializer;
use postbox_codec_msgpack::MessagePackSerializer;
use postbox_codec_protobuf::ProtobufSerializer;
use postbox_protocol::{BoxError, DatagramProtocol, Serializer, TryFromConverter};
use postbox_server::{Client, Handler, RecvError, Requests, Server, ServerBuilder};
use serde::{Deserialize, Serialize};

/// One type for every format: serde's derives for some, prost's for another.
#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
struct Ask {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    times: u32,
}

#[derive(Clone, PartialEq, Serialize, Deserialize, prost::Message)]
struct Answer {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint32, tag = "2")]
    number: u32,
}

/// Greets each client until it says something else than a request.
#[derive(Default)]
struct Greeter {
    asked: AtomicU32,
}

impl Handler for Greeter {
    type Request = Ask;
    type Response = Answer;

    async fn handle(
        &self,
        client: Client<Answer>,
        mut requests: Requests<Ask>,
    ) -> Result<(), BoxError> {
        loop {
            let (text, goes_on) = match requests.recv().await {
                Ok(ask) => (ask.name.repeat(ask.times as usize), true),
                Err(RecvError::Parse(error)) if error.is_convert() => ("who?".to_owned(), false),
                Err(RecvError::Parse(_)) => ("what?".to_owned(), false),
                Err(other) => return Err(other.into()),
            };
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            client.send(Answer { text, number }).await?;
            if !goes_on {
                return Ok(());
            }
        }
    }
}

fn greeting<S>(serializer: S, greeter: &Arc<Greeter>) -> ServerBuilder
where
    S: Serializer<Sent = Answer, Received = Ask>,
{
    Server::builder(DatagramProtocol::new(serializer), Arc::clone(greeter))
}

/// What a schema knows of a request: a message of its own, made by a compiler.
#[derive(Clone, PartialEq, prost::Message)]
struct AskMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, optional, tag = "2")]
    times: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerMessage {
    #[prost(oneof = "answer_message::Kind", tags = "1")]
    kind: Option<answer_message::Kind>,
}

mod answer_message {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Kind {
        #[prost(string, tag = "1")]
        Text(String),
    }
}

impl TryFrom<AskMessage> for Ask {
    type Error = &'static str;

    fn try_from(message: AskMessage) -> Result<Self, &'static str> {
        if message.name.is_empty() {
            return Err("nobody has no name");
        }
        Ok(Self {
            name: message.name,
            times: message.times.unwrap_or(1),
        })
    }
}

impl From<Answer> for AnswerMessage {
    fn from(answer: Answer) -> Self {
        let text = format!("{}: {}", answer.number, answer.text);
        Self {
            kind: Some(answer_message::Kind::Text(text)),
        }
    }
}

contract! {
    async fn h1_the_same_handler_runs_on_json_messagepack_and_protobuf(world: World) {
        let greeter = Arc::new(Greeter::default());
        let json = world.serve(greeting(JsonSerializer::new(), &greeter)).await;
        let named = world.serve(greeting(MessagePackSerializer::new(), &greeter)).await;
        let compact = world.serve(greeting(MessagePackSerializer::compact(), &greeter)).await;
        let protobuf = world.serve(greeting(ProtobufSerializer::new(), &greeter)).await;

        let servers = [json, named, compact, protobuf];
        let conversations: [[(&[u8], &[u8]); 2]; 4] = [
            [
                (br#"{"name":"Ann","times":2}"#, br#"{"text":"AnnAnn","number":0}"#),
                (br#"{"name":"Ann"}"#, br#"{"text":"what?","number":1}"#),
            ],
            [
                (b"\x82\xa4name\xa3Bob\xa5times\x01", b"\x82\xa4text\xa3Bob\xa6number\x02"),
                (b"\xc1", b"\x82\xa4text\xa5what?\xa6number\x03"),
            ],
            [
                (b"\x92\xa3Zoe\x01", b"\x92\xa3Zoe\x04"),
                (b"\x92\xa3Zoe", b"\x92\xa5what?\x05"),
            ],
            [
                (b"\x0a\x03Max\x10\x02", b"\x0a\x06MaxMax\x10\x06"),
                (b"\x0a\x03Ma", b"\x0a\x05what?\x10\x07"),
            ],
        ];
        for (server, conversation) in servers.iter().zip(conversations) {
            let peer = world.peer(server.addr).await;
            for (request, answer) in conversation {
                peer.send(request).await;
                assert_eq!(peer.recv().await, answer);
            }
        }
        for server in servers {
            server.stop().await.unwrap();
        }
    }

    async fn h1_the_same_handler_runs_on_messages_of_a_schema(world: World) {
        let greeter = Arc::new(Greeter::default());
        let json = world.serve(greeting(JsonSerializer::new(), &greeter)).await;
        let protocol = DatagramProtocol::new(ProtobufSerializer::<AnswerMessage, AskMessage>::new())
            .with_converter(TryFromConverter::<Answer, AnswerMessage, Ask, AskMessage>::new());
        let schema = world.serve(Server::builder(protocol, greeter)).await;

        let peer = world.peer(json.addr).await;
        assert_eq!(
            peer.ask(r#"{"name":"","times":2}"#).await,
            r#"{"text":"","number":0}"#
        );
        let peer = world.peer(schema.addr).await;
        assert_eq!(peer.ask(b"\x0a\x03Ann").await, "\n\u{6}1: Ann");
        assert_eq!(peer.ask(b"\x0a\x02Al\x10\x02").await, "\n\u{7}2: AlAl");
        // The empty datagram is a message, of nobody.
        assert_eq!(peer.ask("").await, "\n\u{7}3: who?");
        assert_eq!(peer.ask("\n").await, "\n\u{8}4: what?");
        json.stop().await.unwrap();
        schema.stop().await.unwrap();
    }
}
