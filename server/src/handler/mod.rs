//! What a user writes, one handler for the whole service, and what it is given: a client, and its
//! requests.
//!
//! It knows the engine by two traits alone, which a run of a handler implements there: [`Receive`]
//! and [`Answer`].

mod answering;
mod arrival;
mod boxed;
mod client;
mod client_key;
mod clients;
mod closure;
pub(crate) mod context;
mod middleware;
mod question;
mod requests;
#[cfg(feature = "tower")]
mod service;
mod spawner;
mod r#trait;

pub use answering::{AnswerFn, IntoAnswer, NumberedAnswerFn, answer_fn, answer_fn_with};
pub use arrival::Arrival;
pub use boxed::BoxedHandler;
pub(crate) use client::{Answer, BoxFuture, Packet, SendAttempt, SendsFirst};
pub use client::{Client, Sending};
pub(crate) use client_key::ClientKey;
pub(crate) use clients::ClientSocket;
pub use clients::Clients;
pub use closure::{HandlerFn, handler_fn, handler_fn_with};
pub use context::{ContextVar, InheritContext, inherit_context};
pub use middleware::{Middleware, Wrapped};
pub(crate) use question::Asked;
pub use question::{Question, QuestionFn, question_fn};
pub(crate) use requests::{Receive, Wait, Whose};
pub use requests::{Recv, Requests};
#[cfg(feature = "tower")]
pub use service::{AnswerService, Logged, answer_service};
pub use spawner::ClientSpawner;
pub use r#trait::Handler;
