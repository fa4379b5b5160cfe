//! Tests of receives, without a worker.

use std::pin::pin;
use std::task::Waker;

use bytes::Bytes;

use super::*;
use crate::inbox::Mail;
use crate::port::Locals;
use crate::port::tests::port;

#[test]
fn l1_receives_that_a_task_begins_and_drops_leave_one_alarm() {
    let port = port("127.0.0.1:7");
    let inbox = Arc::clone(&port.inbox);
    let mut locals = Locals::new(port);
    let peers =
        [1, 2].map(|port| Arc::new(Peer::new(locals.at(None), ([192, 0, 2, 1], port).into(), 0)));
    let mut requests = peers.clone().map(Requests::<Bytes>::new);
    let mut cx = Context::from_waker(Waker::noop());
    // Meanwhile their worker is held, and takes no mail.
    for requests in &mut requests {
        for _ in 0..1000 {
            assert!(pin!(requests.recv()).poll(&mut cx).is_pending());
        }
    }
    let mut last = requests.each_mut().map(Requests::recv);
    for receive in &mut last {
        assert!(pin!(receive).poll(&mut cx).is_pending());
    }
    let mut mail = Mail::default();
    inbox.take_mail(&mut mail);
    assert_eq!(mail.alarms.len(), 2);
    for peer in &peers {
        let alarm = &mail.alarms[&peer.address()];
        let mailbox = peer.postbox.lock();
        assert!(mailbox.is_receiving(alarm.receive), "its last receive's");
    }
}
