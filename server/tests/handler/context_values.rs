//! H14: the values of context variables that `service_init` set; clones and destructors that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use postbox_protocol::BoxError;
use postbox_server::{Client, ContextVar, Handler, Requests, Server, ServerBuilder, ServiceScope};

use crate::common::*;
use crate::contract;

static TEXT: ContextVar<String> = ContextVar::new("text");

fn text() -> String {
    TEXT.get().unwrap_or_else(|| "nothing".into())
}

/// Counts its clones; the one told to panics.
#[derive(Debug)]
struct Fragile {
    clones: Arc<AtomicUsize>,
    panics_at: usize,
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let number = self.clones.fetch_add(1, Ordering::SeqCst) + 1;
        assert_ne!(number, self.panics_at, "cannot be cloned");
        // Reading variables while one is being cloned is allowed.
        let _ = text();
        Self {
            clones: Arc::clone(&self.clones),
            panics_at: self.panics_at,
        }
    }
}

static FRAGILE: ContextVar<Fragile> = ContextVar::new("fragile");

/// Sets values in `service_init`; its handlers change theirs, and tell what they began with.
struct Init {
    fragile: Option<Fragile>,
}

impl Handler for Init {
    type Request = Bytes;
    type Response = Bytes;

    async fn service_init(&self, _: &mut ServiceScope) -> Result<(), BoxError> {
        TEXT.set("first".into());
        tokio::task::yield_now().await;
        TEXT.set(text() + ", then second");
        if let Some(fragile) = &self.fragile {
            let Fragile { clones, panics_at } = fragile;
            FRAGILE.set(Fragile {
                clones: Arc::clone(clones),
                panics_at: *panics_at,
            });
        }
        Ok(())
    }

    async fn handle(
        &self,
        client: Client<Bytes>,
        mut requests: Requests<Bytes>,
    ) -> Result<(), BoxError> {
        let began_with = text();
        let request = requests.recv().await?;
        TEXT.set(String::from_utf8(request.into())?);
        client
            .send(format!("{began_with}; {}", text()).into())
            .await?;
        Ok(())
    }
}

fn with_init(fragile: Option<Fragile>) -> ServerBuilder {
    Server::builder(raw(), Init { fragile })
}

contract! {
    async fn h14_each_new_handler_starts_from_the_values_of_service_init(world: World) {
        let server = world.serve(with_init(None)).await;
        let (one, two) = (world.peer(server.addr).await, world.peer(server.addr).await);
        for peer in [&one, &two, &one] {
            for own in ["mine", "other"] {
                assert_eq!(peer.ask(own).await, format!("first, then second; {own}"));
            }
        }
        server.stop().await.unwrap();
    }

    on memory, udp;
    async fn h14_the_handlers_of_every_worker_do(world: World) {
        let server = world.serve(with_init(None).workers(3)).await;
        for _ in 0..10 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("mine").await, "first, then second; mine");
        }
        server.stop().await.unwrap();
    }

    async fn h14_values_are_shared_by_handlers_and_cloned_by_who_reads_them(world: World) {
        let clones = Arc::new(AtomicUsize::new(0));
        let fragile = Fragile { clones: Arc::clone(&clones), panics_at: 0 };
        let server = world.serve(with_init(Some(fragile)).workers(if world.kind == Kind::Plain { 1 } else { 2 })).await;
        let peer = world.peer(server.addr).await;
        for _ in 0..3 {
            peer.ask("x").await;
        }
        assert_eq!(clones.load(Ordering::SeqCst), 0);
        server.stop().await.unwrap();
    }

    async fn h14_a_clone_that_panics_in_get_leaves_the_value_in_its_place(world: World) {
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                let clones = Arc::new(AtomicUsize::new(0));
                FRAGILE.set(Fragile { clones: Arc::clone(&clones), panics_at: 1 });
                TEXT.set("kept".into());
                assert!(std::panic::catch_unwind(|| FRAGILE.get()).is_err());
                assert!(FRAGILE.get().is_some(), "its second clone");
                client.send(text().into()).await?;
                Ok(())
            }))
            .await;
        assert_eq!(world.peer(server.addr).await.ask("x").await, "kept");
        server.stop().await.unwrap();
    }

    // To read a value is to clone it, which is the user's code.
    async fn h14_what_a_clone_itself_sets_is_not_overwritten(world: World) {
        /// Its clone puts a successor in its place.
        #[derive(Debug)]
        struct Successive(u32);
        static NUMBER: ContextVar<Successive> = ContextVar::new("number");
        impl Clone for Successive {
            fn clone(&self) -> Self {
                NUMBER.set(Self(self.0 + 1));
                Self(self.0)
            }
        }
        let server = world
            .serve(raw_server(|client, mut requests| async move {
                requests.recv().await?;
                NUMBER.set(Successive(1));
                let seen = [(); 3].map(|()| NUMBER.get().unwrap().0);
                client.send(format!("{seen:?}").into()).await?;
                Ok(())
            }))
            .await;
        assert_eq!(world.peer(server.addr).await.ask("x").await, "[1, 2, 3]");
        server.stop().await.unwrap();
    }

    async fn h14_a_value_that_panics_when_dropped_is_logged_and_ends_nothing(world: World) {
        #[derive(Clone)]
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("a variable's end");
            }
        }
        static BOMB: ContextVar<Arc<Bomb>> = ContextVar::new("bomb");
        struct Sets;
        impl Handler for Sets {
            type Request = Bytes;
            type Response = Bytes;
            async fn service_init(&self, _: &mut ServiceScope) -> Result<(), BoxError> {
                BOMB.set(Arc::new(Bomb));
                Ok(())
            }
            async fn handle(&self, client: Client<Bytes>, mut requests: Requests<Bytes>) -> Result<(), BoxError> {
                client.send(requests.recv().await?).await?;
                Ok(())
            }
        }
        let server = world.serve(Server::builder(raw(), Sets)).await;
        assert_eq!(world.peer(server.addr).await.ask("x").await, "x");
        server.stop().await.unwrap();
        let logged = world.logs.take();
        assert_eq!(logged.len(), 1);
        assert_eq!(logged[0].message, "a context variable panicked when dropped: a variable's end");
    }
}
