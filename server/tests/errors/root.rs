//! What the machine really runs out of. With `POSTBOX_ROOT_TESTS=1`, on a host of its own: see
//! `binding/root.rs`.

use std::error::Error;
use std::fs::File;
use std::io;

use postbox_server::{BindError, ServeError, Server};

use crate::binding::root::run_on_own_host;
use crate::common::*;

/// Whether this is, or comes from, *no files left*.
fn is_out_of_files(error: &(dyn Error + 'static)) -> bool {
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    source.and_then(io::Error::raw_os_error) == Some(libc::EMFILE)
}

#[test]
fn v7_root_out_of_files_is_an_error_of_bind_and_of_serving_and_passes() {
    let test = "v7_root_out_of_files_is_an_error_of_bind_and_of_serving_and_passes";
    run_on_own_host(module_path!(), test, "ulimit -n 40", |world| {
        Box::pin(async move {
            let mut servers: Vec<Server> = Vec::new();
            for plain in [false, true] {
                let builder = echo().plain_transport(plain);
                servers.push(builder.bind("127.0.0.1:0").await.unwrap());
            }
            let mut peers = Vec::new();
            for server in &servers {
                peers.push(world.peer(server.handle().addresses()[0]).await);
            }
            let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
            for hosts in [vec!["127.0.0.1:9000"], vec!["127.0.0.1:9001", "[::1]:9001"]] {
                let error = echo().bind(&hosts[..]).await.unwrap_err();
                assert!(matches!(error, BindError::Bind { .. }), "{error:?}");
                assert!(is_out_of_files(&error), "{error:?}");
            }
            let error = echo().bind_every_interface(9000).unwrap_err();
            assert!(is_out_of_files(&error), "{error:?}");
            // The plain transport works on a duplicate of its own.
            let failed = servers[1].serve_forever().await.unwrap_err();
            assert!(matches!(failed, ServeError::Socket { .. }), "{failed:?}");
            assert!(is_out_of_files(&failed), "{failed:?}");
            assert!(servers[1].handle().is_listening());
            // One that serves needs none.
            let served = TestServer::start(servers.remove(0)).await;
            assert_eq!(peers[0].ask("hello").await, "hello");
            drop(files);
            let again = TestServer::start(servers.remove(0)).await;
            assert_eq!(peers[1].ask("hello").await, "hello");
            let bound = echo().bind(["127.0.0.1:9001", "[::1]:9001"]).await.unwrap();
            assert_eq!(bound.handle().addresses().len(), 2);
            served.stop().await.unwrap();
            again.stop().await.unwrap();
        })
    });
}
