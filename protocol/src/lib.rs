//! How packets become datagrams and back: the protocol objects of Postbox.
