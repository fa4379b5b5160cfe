//! Typed UDP servers: one handler per client, each client with its own bounded postbox.
