//! What loggers and wakers do while answers leave: they are the user's, and run on the worker.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{Client, ContextVar, FlushError};
use tokio::sync::mpsc;

use super::{pushed, pushing, refused};
use crate::common::*;
use crate::{contract, paused};

static VALUE: ContextVar<String> = ContextVar::new("value");

/// Runs this on a runtime of its own, on the thread of the handler that calls it: only on the
/// multi-thread runtime may a handler block its thread.
fn within_a_handler(inner: impl Future<Output = ()>) {
    tokio::task::block_in_place(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(inner);
    });
}

/// Panics when it is dropped.
struct Destructor;

impl Drop for Destructor {
    fn drop(&mut self) {
        panic!("in a destructor");
    }
}

/// Says goodbye when it is dropped.
struct Goodbye(Client<Bytes>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.try_send("goodbye".into()).unwrap();
    }
}

contract! {
    on memory;
    async fn v7_a_flush_whose_worker_dies_as_it_sends_is_told(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (_good, to_good) = pushed(&world, &server, &mut taken).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(|| panic!("in the transport")));
        world.network.block_sends(server.addr, true);
        for _ in 0..64 {
            to_good.send("the first batch".into()).await.unwrap();
        }
        let mut flushed = pin!(to_good.flush());
        begin(&mut flushed).await;
        to_bad.send("lost".into()).await.unwrap();
        let mut not_flushed = pin!(to_bad.flush());
        begin(&mut not_flushed).await;
        world.network.block_sends(server.addr, false);
        flushed.await.unwrap(); // it has left
        assert!(matches!(not_flushed.await, Err(FlushError::Closed)));
        assert!(server.serving.await.unwrap().is_err());
    }
}

#[test]
fn h14_a_logger_of_a_server_within_a_handler_has_none_of_its_values() {
    run(Kind::Memory, Rt::Multi, |world| async move {
        let inner_world = world.clone();
        let outer = world
            .serve(raw_server(move |client, mut requests| {
                let world = inner_world.clone();
                async move {
                    requests.recv().await?;
                    VALUE.set("the handler's".into());
                    let seen = Arc::new(Mutex::new(None));
                    let (see, answer) = (Arc::clone(&seen), client.clone());
                    within_a_handler(async {
                        let (builder, mut taken) = pushing();
                        let inner = world.serve_alone(builder).await;
                        let (bad, to_bad) = pushed(&world, &inner, &mut taken).await;
                        world.network.fail_sends(bad.addr(), Some(refused));
                        world.logs.hook(move || {
                            *see.lock().unwrap() = VALUE.get();
                            VALUE.set("a logger's".into());
                            answer.try_send("from the logger".into()).unwrap();
                        });
                        to_bad.send("lost".into()).await.unwrap();
                        to_bad.flush().await.unwrap_err();
                        world.logs.hook(|| {});
                        inner.stop().await.unwrap();
                    });
                    assert_eq!(*seen.lock().unwrap(), None);
                    client.send(VALUE.get().unwrap_or_default().into()).await?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(outer.addr).await;
        assert_eq!(peer.ask("hello").await, "from the logger");
        assert_eq!(peer.recv_text().await, "the handler's");
        outer.stop().await.unwrap();
        world.logs.take();
    });
}

#[test]
fn v7_a_server_that_ends_in_a_logger_within_a_handler_takes_none_of_its_answers() {
    run(Kind::Memory, Rt::Multi, |world| async move {
        let inner_world = world.clone();
        let outer = world
            .serve(raw_server(move |client, mut requests| {
                let world = inner_world.clone();
                async move {
                    requests.recv().await?;
                    client.send("before".into()).await?;
                    within_a_handler(async {
                        let held = raw_server(|client, mut requests| async move {
                            let _held = Destructor;
                            client.send(requests.recv().await?).await?;
                            pending().await
                        });
                        let inner = world.serve_alone(held).await;
                        let peer = world.peer(inner.addr).await;
                        peer.ask("hello").await;
                        world.logs.hook(|| panic!("in a logger"));
                        inner.serving.abort();
                        inner.serving.await.unwrap_err();
                        inner.handle.shutdown().await; // its worker is gone as well
                        world.logs.hook(|| {});
                    });
                    client.send("after".into()).await?;
                    Ok(())
                }
            }))
            .await;
        let peer = world.peer(outer.addr).await;
        assert_eq!(peer.ask("hello").await, "before");
        assert_eq!(peer.recv_text().await, "after");
        outer.stop().await.unwrap();
        world.logs.take();
    });
}

paused! {
    async fn h14_what_a_logger_sets_while_answers_leave_is_the_workers(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        world.logs.hook(|| {
            VALUE.set("a logger's".into());
        });
        to_bad.send("lost".into()).await.unwrap();
        to_bad.flush().await.unwrap_err();
        world.logs.wait_for(1).await;
        assert_eq!(VALUE.get(), None);
        world.logs.hook(|| {});
        server.stop().await.unwrap();
    }

    async fn v7_what_a_logger_sends_leaves_behind_what_was_sent_before(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        let (good, to_good) = pushed(&world, &server, &mut taken).await;
        world.network.fail_sends(bad.addr(), Some(refused));
        let logger = to_good.clone();
        world.logs.hook(move || logger.try_send("from the logger".into()).unwrap());
        world.network.block_sends(server.addr, true);
        to_good.send("one".into()).await.unwrap();
        to_bad.send("lost".into()).await.unwrap();
        to_good.send("two".into()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.network.block_sends(server.addr, false);
        for text in ["one", "two", "from the logger"] {
            assert_eq!(good.recv_text().await, text);
        }
        tokio::time::sleep(Duration::from_secs(3600)).await; // nor does it keep the worker awake
        server.stop().await.unwrap();
        world.logs.take();
    }

    async fn v4_what_a_logger_sends_while_the_last_answers_leave_leaves_too(world: World) {
        let (give, mut taken) = mpsc::unbounded_channel();
        let server = world.serve(raw_server(move |client, mut requests| {
            let give = give.clone();
            async move {
                let stays = requests.recv().await? == "stays";
                let _goodbye = stays.then(|| Goodbye(client.clone()));
                give.send(client)?;
                if stays {
                    pending::<()>().await;
                }
                Ok(())
            }
        }).grace(Duration::ZERO)).await;
        let (good, to_good) = pushed(&world, &server, &mut taken).await;
        let bad = world.peer_at(world.alone(), server.addr).await;
        bad.send("stays").await;
        taken.recv().await.unwrap();
        world.network.fail_sends(bad.addr(), Some(refused));
        world.logs.hook(move || drop(to_good.try_send("from the logger".into())));
        server.handle.shutdown().await;
        assert_eq!(good.recv_text().await, "from the logger");
        server.stop().await.unwrap();
        world.logs.take();
    }
}
