//! S3 and S4 where it is a destructor that fails, or a worker that dies while the others end.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use postbox_server::{
    BoxError, BoxedHandler, Client, Handler, Requests, ServeError, Server, ServiceScope, StartError,
};
use tokio::sync::Notify;

use crate::common::service::*;
use crate::common::*;
use crate::contract;

/// Panics when it is dropped, whatever it answered before.
pub(super) struct PanicsWhenDropped<F>(Pin<Box<F>>);

impl<F: Future> PanicsWhenDropped<F> {
    fn new(future: F) -> Self {
        Self(Box::pin(future))
    }
}

impl<F: Future> Future for PanicsWhenDropped<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<F> Drop for PanicsWhenDropped<F> {
    fn drop(&mut self) {
        panic!("while dropping");
    }
}

/// A future that panics when it is polled and once more when it is dropped.
pub(super) fn panics_twice() -> PanicsWhenDropped<impl Future<Output = Result<(), BoxError>>> {
    PanicsWhenDropped::new(async { panic!("while polling") })
}

/// Why serving failed before it began: what `service_init` is to blame for.
fn blamed(served: Result<(), ServeError>) -> String {
    let error = served.unwrap_err();
    assert!(matches!(error, ServeError::ServiceInit(_)), "{error:?}");
    source(&error)
}

/// A server whose `service_init` is dropped with a panic after it has ended like this.
async fn dropped_after(
    world: &World,
    result: impl Fn() -> Result<(), BoxError> + Send + Sync + Clone + 'static,
) -> Server {
    let builder = echo_with_init(move |_| {
        let result = result.clone();
        Box::pin(PanicsWhenDropped::new(async move { result() }))
    });
    world.bind(builder).await
}

contract! {
    async fn s3_a_service_init_that_panics_as_it_is_dropped_fails_serving(world: World) {
        let server = dropped_after(&world, || Ok(())).await;
        let handle = server.handle();
        let (served, started) = tokio::join!(server.serve_forever(), handle.started());
        assert_eq!(blamed(served), "panicked: while dropping");
        assert_eq!(started, Err(StartError::Ended));
        assert_eq!(handle.stats().received, 0, "nothing was served");
    }

    async fn s3_a_service_init_that_fails_is_told_before_its_destructor(world: World) {
        let server = dropped_after(&world, || Err("no database".into())).await;
        assert_eq!(blamed(server.serve_forever().await), "no database");
    }

    async fn s3_a_service_init_that_a_shutdown_cancels_is_told_if_its_destructor_panics(world: World) {
        let begun = std::sync::Arc::new(Notify::new());
        let begins = std::sync::Arc::clone(&begun);
        let server = world.bind(echo_with_init(move |_| {
            begins.notify_one();
            Box::pin(PanicsWhenDropped::new(pending()))
        })).await;
        let serving = tokio::spawn(server.serve_forever());
        begun.notified().await;
        server.handle().shutdown().await;
        assert_eq!(blamed(serving.await.unwrap()), "panicked: while dropping");
    }

    async fn s3_a_boxed_service_init_that_panics_twice_fails_serving(world: World) {
        struct Rude;
        impl Handler for Rude {
            type Request = Bytes;
            type Response = Bytes;
            async fn handle(&self, _: Client<Bytes>, _: Requests<Bytes>) -> Result<(), BoxError> {
                Ok(())
            }
            fn service_init(
                &self,
                _: &mut ServiceScope,
            ) -> impl Future<Output = Result<(), BoxError>> + Send {
                panics_twice()
            }
        }
        let server = world.bind(Server::builder(raw(), BoxedHandler::new(Rude))).await;
        assert_eq!(blamed(server.serve_forever().await), "panicked: while polling");
    }

    async fn s4_a_background_task_that_panics_twice_ends_serving_and_both_are_told(world: World) {
        let server = world.bind(echo_with_init(|service| {
            service.spawn(panics_twice());
            Box::pin(async { Ok(()) })
        })).await;
        let error = server.serve_forever().await.unwrap_err();
        assert!(matches!(error, ServeError::BackgroundTask(_)), "{error:?}");
        assert_eq!(source(&error), "panicked: while polling");
        let logs = world.logs.take();
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        assert_eq!(texts, ["a background task failed: panicked: while dropping"]);
    }

    async fn s2_an_exit_action_that_panics_twice_is_logged_for_both(world: World) {
        let server = world.serve(echo_with_init(|service| {
            service.on_exit_async(panics_twice);
            Box::pin(async { Ok(()) })
        })).await;
        server.stop().await.unwrap();
        let logs = world.logs.take();
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        let expected = ["while polling", "while dropping"];
        assert_eq!(texts, expected.map(|text| format!("an exit action failed: panicked: {text}")));
    }

    async fn s4_a_background_task_that_panics_as_it_is_dropped_ends_serving(world: World) {
        let server = world.bind(echo_with_init(|service| {
            service.spawn(PanicsWhenDropped::new(async {}));
            Box::pin(async { Ok(()) })
        })).await;
        let error = server.serve_forever().await.unwrap_err();
        assert!(matches!(error, ServeError::BackgroundTask(_)), "{error:?}");
        assert_eq!(source(&error), "panicked: while dropping");
    }

    async fn s4_a_background_task_that_is_stopped_and_panics_as_it_is_dropped_is_logged(world: World) {
        let server = world.serve(echo_with_init(|service| {
            service.spawn(PanicsWhenDropped::new(pending::<()>()));
            Box::pin(async { Ok(()) })
        })).await;
        server.stop().await.unwrap();
        let logs = world.logs.take();
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        assert_eq!(texts, ["a background task failed: panicked: while dropping"]);
    }

    async fn s2_an_exit_action_that_panics_as_it_is_cut_off_is_logged_for_both(world: World) {
        let builder = echo_with_init(|service| {
            service.on_exit_async(|| PanicsWhenDropped::new(pending::<()>()));
            Box::pin(async { Ok(()) })
        });
        let exit = Duration::from_millis(20);
        let limits = postbox_server::Limits::default().exit(exit);
        let server = world.serve(builder.limits(limits)).await;
        server.stop().await.unwrap();
        let logs = world.logs.take();
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        let what = "an exit action failed: ";
        let expected = ["panicked: while dropping", "exit actions did not end within 20ms"];
        assert_eq!(texts, expected.map(|text| format!("{what}{text}")));
    }
}

contract! {
    // It was told to end like the others, and does not come to it.
    on memory;
    async fn s4_a_worker_that_dies_during_a_shutdown_is_an_error_too(world: World) {
        let server = world.serve(raw_server(|client, mut requests| async move {
            client.send(requests.recv().await?).await?;
            requests.recv().await.unwrap_err();
            client.send("goodbye".into()).await?;
            Ok(())
        }).workers(3)).await;
        let mut peers = Vec::new();
        for _ in 0..20 {
            let peer = world.peer(server.addr).await;
            assert_eq!(peer.ask("waits").await, "waits");
            peers.push(peer);
        }
        world.network.fail_sends(peers[0].addr(), Some(|| panic!("in the transport")));
        server.handle.shutdown().await;
        let error = server.serving.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "a worker died: in the transport");
        let goodbyes = peers[1..].iter().filter(|peer| !peer.is_quiet()).count();
        assert!(goodbyes > 0, "the other workers ended well");
    }
}
