//! The exit actions of a serving that was dropped: how long they may take, and what becomes of their
//! failures where no runtime is left.

use std::future::pending;
use std::time::Duration;

use postbox_server::Limits;
use tokio::time::Instant;
use tracing::Level;

use super::runtimes::serve_elsewhere;
use crate::common::service::*;
use crate::{contract, paused};

struct PanicsWhenDropped(&'static str);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

paused! {
    async fn v10_the_exit_actions_of_a_dropped_serving_have_their_limit(world: World) {
        let journal = Journal::default();
        let registered = journal.clone();
        let builder = echo_with_init(move |service| {
            let last = registered.clone();
            service.on_exit(move || last.add("last"));
            let dropped = registered.on_drop("cut off");
            service.on_exit_async(move || async move {
                let _dropped = dropped;
                pending::<()>().await;
            });
            Box::pin(async { Ok(()) })
        });
        let exit = Duration::from_secs(70);
        let server = world.serve(builder.limits(Limits::default().exit(exit))).await;
        let start = Instant::now();
        server.serving.abort();
        server.serving.await.unwrap_err();
        server.handle.shutdown().await;
        assert_eq!(start.elapsed().as_secs(), 70);
        assert_eq!(journal.entries(), ["cut off", "last"]);
        let logs = world.logs.take();
        assert_eq!(logs.len(), 1);
        assert_eq!(logs[0].message, "an exit action failed: exit actions did not end within 70s");
    }
}

contract! {
    async fn v10_what_fails_in_exit_actions_without_a_runtime_is_logged_and_the_others_run(world: World) {
        let journal = Journal::default();
        let registered = journal.clone();
        let server = world.bind(echo_with_init(move |service| {
            let journal = registered.clone();
            service.on_exit(move || journal.add("last"));
            service.on_exit(|| panic!("in the call"));
            service.on_exit(|| Err::<(), _>("failed"));
            let rude = PanicsWhenDropped("not run");
            service.on_exit_async(move || async move {
                let _rude = rude;
            });
            let (journal, rude) = (registered.clone(), PanicsWhenDropped("cut off"));
            service.on_exit_async(move || async move {
                let _rude = rude;
                journal.add("begins");
                pending::<()>().await;
            });
            Box::pin(async { Ok(()) })
        })).await;
        let handle = server.handle();
        let (tell, thread) = serve_elsewhere(&world, &server, drop);
        handle.started().await.unwrap();
        let stopping = tokio::spawn(async move { handle.shutdown().await });
        journal.wait_for("begins").await;
        tell.send(()).unwrap();
        thread.await.unwrap();
        stopping.await.unwrap();
        assert_eq!(journal.entries(), ["begins", "last"]);
        let logs = world.logs.take();
        assert!(logs.iter().all(|record| record.level == Level::ERROR));
        let texts: Vec<_> = logs.iter().map(|record| &record.message[..]).collect();
        assert_eq!(texts, [
            "an exit action was not run to its end: no runtime is left to run it",
            "an exit action failed: panicked: cut off",
            "an exit action was not run: no runtime is left to run it",
            "an exit action failed: panicked: not run",
            "an exit action failed: failed",
            "an exit action failed: panicked: in the call",
        ]);
    }
}
