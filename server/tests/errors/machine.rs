//! What the machine runs out of, or forbids: nothing ends, and all works again once it is over.

use std::io;

use postbox_server::{FlushError, ServeError};

use super::{pushed, pushing};
use crate::common::*;
use crate::contract;

/// Makes an error, as faults are made: by plain functions.
type MakeError = fn() -> io::Error;

const FAILURES: [MakeError; 6] = [
    || io::Error::from_raw_os_error(libc::ENOBUFS),
    || io::Error::from_raw_os_error(libc::ENOMEM),
    || io::Error::from_raw_os_error(libc::EMFILE),
    || io::Error::from_raw_os_error(libc::EPERM),
    || io::Error::from_raw_os_error(libc::ENETDOWN),
    || io::Error::from_raw_os_error(libc::ENETUNREACH),
];

contract! {
    on memory;
    async fn v7_failures_of_the_machine_end_nothing_and_pass(world: World) {
        let (builder, mut taken) = pushing();
        let server = world.serve(builder).await;
        let (bad, to_bad) = pushed(&world, &server, &mut taken).await;
        let (good, to_good) = pushed(&world, &server, &mut taken).await;
        for (count, failure) in (1..).zip(FAILURES) {
            // While it receives.
            world.network.fail_receives(server.addr, 1, failure);
            bad.send("hello").await;
            assert!(taken.recv().await.unwrap() == to_bad);
            assert_eq!(server.handle.stats().receive_errors, count);

            // While it sends.
            world.network.fail_sends(bad.addr(), Some(failure));
            to_bad.send("lost".into()).await.unwrap();
            to_good.send("goes on".into()).await.unwrap();
            let Err(FlushError::Io(told)) = to_bad.flush().await else {
                panic!("{}", failure());
            };
            assert_eq!(told.raw_os_error(), failure().raw_os_error());
            to_good.flush().await.unwrap();
            assert_eq!(good.recv_text().await, "goes on");
            assert_eq!(server.handle.stats().send_errors, count);

            // And it passes.
            world.network.fail_sends(bad.addr(), None);
            to_bad.send("works again".into()).await.unwrap();
            to_bad.flush().await.unwrap();
            assert_eq!(bad.recv_text().await, "works again");
        }
        let records = world.logs.take();
        assert!((2..=12).contains(&records.len()), "of each a line a second: {records:#?}");
        server.stop().await.unwrap();
        world.logs.take(); // what was left out
    }

    on memory;
    async fn v7_a_transport_that_cannot_be_opened_fails_this_serving_alone(world: World) {
        let server = world.bind(echo().workers(2)).await;
        let handle = server.handle();
        let addr = handle.addresses()[0];
        let peer = world.peer(addr).await;
        peer.send("before").await;
        for failure in FAILURES {
            // The second worker's, when the first has one.
            world.network.fail_opens(addr, 1, failure);
            match server.serve_forever().await {
                Err(ServeError::Socket { addr: named, source }) => {
                    assert_eq!(named, addr);
                    assert_eq!(source.raw_os_error(), failure().raw_os_error());
                }
                other => panic!("{other:?}"),
            }
            assert!(handle.is_listening() && !handle.is_serving());
        }
        let server = TestServer::start(server).await;
        assert_eq!(peer.recv_text().await, "before");
        assert_eq!(peer.ask("after").await, "after");
        server.stop().await.unwrap();
    }
}
