//! Plain questions, by a `tower::Service`, with tower's own layers around it.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::common::*;
use crate::{contract, paused};
use bytes::Bytes;
use postbox_server::{BoxError, Handler, Question, Server, answer_service};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

async fn answer(question: Question<Bytes>) -> Result<Bytes, BoxError> {
    match &question.packet()[..] {
        b"error" => Err("no such thing".into()),
        b"panic" => panic!("no manners"),
        _ => Ok(question.into_packet()),
    }
}

/// A service that answers once it is let go on, and how many calls of it run.
#[derive(Clone)]
struct Held {
    gate: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
}

impl Held {
    fn new() -> Self {
        let (gate, running) = (Arc::new(Semaphore::new(0)), Arc::default());
        Self { gate, running }
    }

    async fn answer(self, question: Question<Bytes>) -> Result<Bytes, BoxError> {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await?.forget();
        self.running.fetch_sub(1, Ordering::Relaxed);
        Ok(question.into_packet())
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

/// What may be called only after it was ready, once, as the layers that limit are.
struct Strict {
    gate: Arc<Semaphore>,
    polls: Arc<AtomicUsize>,
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        let (gate, polls) = (Arc::clone(&self.gate), Arc::clone(&self.polls));
        let ready = false;
        Self { gate, polls, ready }
    }
}

impl Service<Question<Bytes>> for Strict {
    type Response = Bytes;
    type Error = BoxError;
    type Future = Ready<Result<Bytes, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        match self.gate.try_acquire() {
            Ok(permit) => {
                permit.forget();
                self.ready = true;
                Poll::Ready(Ok(()))
            }
            Err(_) if self.gate.is_closed() => Poll::Ready(Err("out of order".into())),
            Err(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn call(&mut self, question: Question<Bytes>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        ready(Ok(question.into_packet()))
    }
}

/// Notes what passes, as layers that trace do.
#[derive(Clone, Default)]
struct Trace(Arc<std::sync::Mutex<Vec<String>>>);

#[derive(Clone)]
struct Traced<S>(S, Trace);

impl<S> Layer<S> for Trace {
    type Service = Traced<S>;
    fn layer(&self, inner: S) -> Traced<S> {
        Traced(inner, self.clone())
    }
}

impl<S: Service<Question<Bytes>>> Service<Question<Bytes>> for Traced<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, question: Question<Bytes>) -> S::Future {
        let Self(inner, Trace(lines)) = self;
        lines.lock().unwrap().push(question.to_string());
        inner.call(question)
    }
}

contract! {
    async fn h15_a_service_answers_and_its_errors_are_a_handlers(world: World) {
        let handler = answer_service(service_fn(answer));
        assert_eq!(handler.concurrency(), Some(256));
        let server = world.serve(Server::builder(raw(), handler)).await;
        let peer = world.peer(server.addr).await;
        for text in ["error", "panic", "hello"] {
            peer.send(text).await;
        }
        assert_eq!(peer.recv_text().await, "hello");
        let stats = server.settled(3).await;
        assert_eq!((stats.handlers_returned, stats.handlers_failed, stats.handlers_panicked), (1, 1, 1));
        let logged = world.logs.wait_for(2).await;
        assert!(logged[0].message.contains("no such thing"), "{logged:?}");
        assert!(logged[1].message.contains("no manners"), "{logged:?}");
        server.stop().await.unwrap();
    }

    async fn h15_a_service_is_called_where_it_was_ready_once_for_each(world: World) {
        let (gate, polls) = (Arc::new(Semaphore::new(0)), Arc::default());
        let strict = Strict { gate: Arc::clone(&gate), polls: Arc::clone(&polls), ready: false };
        let server = world.serve(Server::builder(raw(), answer_service(strict))).await;
        let peer = world.peer(server.addr).await;
        peer.send("first").await;
        server.stats_where(|stats| stats.waiting_clients == 1).await;
        while polls.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        assert_eq!(peer.recv_text().await, "first");
        gate.add_permits(2);
        for text in ["second", "third"] {
            assert_eq!(peer.ask(text).await, text);
        }
        // It is no longer ready at all: that is its error, and it is not called.
        gate.close();
        peer.send("fourth").await;
        let logged = world.logs.wait_for(1).await;
        assert!(logged[0].message.contains("out of order"), "{logged:?}");
        server.stop().await.unwrap();
    }

    async fn h15_a_concurrency_limit_holds_for_all_calls_and_the_others_wait(world: World) {
        let held = Held::new();
        let service = held.clone();
        let service = ServiceBuilder::new()
            .concurrency_limit(2)
            .service(service_fn(move |question| service.clone().answer(question)));
        let server = world.serve(Server::builder(raw(), answer_service(service))).await;
        let (one, other) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for peer in [&one, &other] {
            for text in ["1", "2", "3"] {
                peer.send(text).await;
            }
        }
        server.stats_where(|stats| stats.handed_out == 6 && stats.waiting_clients == 6).await;
        assert_eq!(held.running(), 2);
        held.gate.add_permits(6);
        for peer in [&one, &other] {
            for _ in 0..3 {
                peer.recv().await;
            }
        }
        server.stop().await.unwrap();
    }

    async fn h15_what_an_overloaded_or_failed_service_answers_is_the_users_to_say(world: World) {
        let held = Held::new();
        let service = held.clone();
        let service = ServiceBuilder::new().load_shed().concurrency_limit(1).service(service_fn(
            move |question: Question<Bytes>| {
                let service = service.clone();
                async move {
                    match &question.packet()[..] {
                        b"held" => service.answer(question).await,
                        _ => answer(question).await,
                    }
                }
            },
        ));
        let handler = answer_service(service).on_error(|error: BoxError| {
            if error.is::<Overloaded>() {
                Ok(Some(Bytes::from_static(b"busy")))
            } else if error.to_string() == "no such thing" {
                Ok(None)
            } else {
                Err(error)
            }
        });
        let server = world.serve(Server::builder(raw(), handler)).await;
        let peer = world.peer(server.addr).await;
        peer.send("held").await;
        server.stats_where(|_| held.running() == 1).await;
        for _ in 0..3 {
            assert_eq!(peer.ask("hello").await, "busy");
        }
        held.gate.add_permits(1);
        assert_eq!(peer.recv_text().await, "held");
        server.stats_where(|stats| stats.waiting_clients == 0).await;
        peer.send("error").await; // answered nothing
        assert_eq!(peer.ask("hello").await, "hello");
        held.gate.close();
        peer.send("held").await;
        let logged = world.logs.wait_for(1).await;
        assert!(logged[0].message.contains("closed"), "{logged:?}");
        server.stop().await.unwrap();
    }

    on memory;
    async fn h15_an_overload_that_is_not_answered_does_not_flood_the_log(world: World) {
        let held = Held::new();
        let service = held.clone();
        let service = ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(1)
            .service(service_fn(move |question| service.clone().answer(question)));
        let server = world.serve(Server::builder(raw(), answer_service(service))).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..200 {
            peer.send("hello").await;
        }
        server.stats_where(|stats| stats.handlers_failed == 199).await;
        held.gate.add_permits(1);
        peer.recv().await;
        server.stop().await.unwrap();
        let logged = world.logs.take();
        assert!(logged.len() < 20, "{logged:?}"); // one a second, on however slow a machine
        assert!(logged[0].message.contains("overloaded"), "{logged:?}");
    }
}

paused! {
    async fn h15_a_stack_of_layers_times_out_and_limits_and_sees_each(world: World) {
        let trace = Trace::default();
        let service = ServiceBuilder::new()
            .layer(trace.clone())
            .load_shed()
            .concurrency_limit(3)
            .timeout(Duration::from_secs(1))
            .service(service_fn(async |question: Question<Bytes>| {
                if question.packet() == "slow" {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                answer(question).await
            }));
        let handler = answer_service(service).on_error(|error: BoxError| {
            let late = error.is::<Elapsed>().then_some("late");
            let busy = error.is::<Overloaded>().then_some("busy");
            late.or(busy).map(Bytes::from)
        });
        let server = world.serve(Server::builder(raw(), handler)).await;
        let peer = world.peer(server.addr).await;
        let begun = Instant::now();
        for _ in 0..4 {
            peer.send("slow").await;
        }
        assert_eq!(peer.recv_text().await, "busy");
        assert!(begun.elapsed() < Duration::from_secs(1));
        for _ in 0..3 {
            assert_eq!(peer.recv_text().await, "late");
        }
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(peer.ask("hello").await, "hello");
        assert_eq!(*trace.0.lock().unwrap(), vec![peer.addr().to_string(); 5]);
        server.stop().await.unwrap();
    }

    async fn h15_a_rate_limit_behind_a_buffer_lets_so_many_pass(world: World) {
        let service = ServiceBuilder::new()
            .buffer(16)
            .rate_limit(2, Duration::from_secs(10))
            .service(service_fn(answer).boxed());
        let server = world.serve(Server::builder(raw(), answer_service(service))).await;
        let peer = world.peer(server.addr).await;
        let begun = Instant::now();
        for text in ["1", "2", "3", "4", "5"] {
            peer.send(text).await;
        }
        let mut waited = Vec::new();
        for text in ["1", "2", "3", "4", "5"] {
            assert_eq!(peer.recv_text().await, text);
            waited.push(begun.elapsed().as_secs() / 10);
        }
        assert_eq!(waited, [0, 0, 1, 1, 2]);
        server.stop().await.unwrap();
    }
}
